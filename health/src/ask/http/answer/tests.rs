// SPDX-License-Identifier: Apache-2.0
//! Answers in pieces, good ones and others.

use proptest::prelude::*;

use super::*;

fn question(body: &str) -> HttpQuestion {
    let expect_body = (!body.is_empty()).then(|| body.parse().unwrap());
    HttpQuestion { expect_body, ..HttpQuestion::default() }
}

/// What comes of an answer that arrives in such pieces before the connection is closed.
fn verdict<'a>(question: &HttpQuestion, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), String> {
    let mut answer = Answer::to(question);
    let mut verdict = pieces.into_iter().find_map(|piece| answer.read(piece));
    verdict.take().unwrap_or_else(|| answer.end()).map_err(|failure| failure.to_string())
}

fn whole(body: &str, answer: &str) -> Result<(), String> {
    verdict(&question(body), [answer.as_bytes()])
}

#[test]
fn the_status_decides_where_no_body_is_expected() {
    assert_eq!(whole("", "HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
    assert_eq!(whole("", "HTTP/1.0 302 \r\nLocation: /x\r\n\r\n"), Ok(()));
    assert_eq!(
        whole("", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204\r\n\r\n"),
        Ok(())
    );
    let wrong = whole("", "HTTP/1.1 503 Unavailable\r\n\r\n");
    assert_eq!(wrong, Err("the status is 503, not 200-399".to_owned()));
}

#[test]
fn half_an_answer_is_none() {
    let half = Err(Failure::Half.to_string());
    for (body, answer) in [
        ("", ""),
        ("", "HTTP/1.1 200 OK\r\n"),
        ("", "HTTP/1.1 200 OK\r\nA: b\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("yes", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno no no"),
        ("yes", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nno"),
        ("yes", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n"),
    ] {
        assert_eq!(whole(body, answer), half, "{answer}");
    }
}

#[test]
fn garbage_is_told() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(LONGEST_HEAD));
    for answer in ["SSH-2.0-OpenSSH\r\n", "\u{0}\u{1}", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", &long] {
        assert_eq!(whole("", answer), Err(GARBAGE.to_string()), "{answer:.20}");
    }
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["zz\r\n", "1\r\nabc\r\n", &"0".repeat(2000)] {
        assert_eq!(whole("yes", &format!("{chunk}{body}")), Err(GARBAGE.to_string()), "{body:.20}");
    }
    assert_eq!(whole("x", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx"), Err(GARBAGE.to_string()));
}

#[test]
fn a_body_is_searched_as_far_as_it_goes() {
    let head = "HTTP/1.1 200 OK\r\n";
    for answer in [
        format!("{head}\r\nwell, yes"),
        format!("{head}Content-Length: 3\r\n\r\nyes"),
        format!("{head}Transfer-Encoding: gzip, Chunked\r\n\r\n3;x=y\r\noh \r\n1\r\ny\r\n2\r\nes\r\n0\r\n\r\n"),
    ] {
        assert_eq!(whole("yes", &answer), Ok(()), "{answer}");
        assert_eq!(verdict(&question("yes"), answer.as_bytes().chunks(1)), Ok(()), "{answer}");
        let no = whole("no", &answer).unwrap_err();
        assert!(no.starts_with("\"no\" is not in the body: \"") && no.contains("yes"), "{no}");
    }
    assert!(whole("yes", &format!("{head}Content-Length: 3\r\n\r\nnoyes")).is_err());
    assert!(whole("yes", &format!("{head}Content-Length: 0\r\n\r\n")).is_err());
    let far = format!("{head}\r\n{}yes", "x".repeat(LONGEST_BODY - 2));
    assert!(whole("yes", &far).is_err());
    let method = Method::Head;
    let nothing =
        verdict(&HttpQuestion { method, ..question("yes") }, [format!("{head}Content-Length: 3\r\n\r\n").as_bytes()]);
    assert!(nothing.is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..300) {
        let (one, two) = bytes.split_at(at.min(bytes.len()));
        let _ = verdict(&question("x"), [one, two]);
        let _ = verdict(&question(""), [one, two]);
    }

    /// However the kernel cuts it.
    #[test]
    fn pieces_make_no_difference(
        answer in "HTTP/1\\.[01] [1-5][0-9][0-9] ?[a-z]?\r\n(Content-Length: [0-9]\r\n|Transfer-Encoding: chunked\r\n)?\r\n([0-9a-f]\r\n)?[a-c\r\n0-9]{0,20}",
        size in 1_usize..40,
    ) {
        // An interim answer's end is found at other places in other pieces, no other verdict.
        let question = question("b");
        prop_assert_eq!(verdict(&question, answer.as_bytes().chunks(size)), verdict(&question, [answer.as_bytes()]));
    }
}
