// SPDX-License-Identifier: Apache-2.0
//! Pages.

use slb_core::model::check::{Header, HttpQuestion, Method};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::*;

fn page() -> Question {
    Question::Http(Box::default())
}

fn body(text: &str) -> Question {
    Question::Http(Box::new(HttpQuestion { expect_body: Some(text.parse().unwrap()), ..HttpQuestion::default() }))
}

/// Reads a request to its end.
async fn request(connection: &mut TcpStream) -> String {
    let mut read = String::new();
    while !read.ends_with("\r\n\r\n") {
        read.push(char::from(connection.read_u8().await.unwrap()));
    }
    read
}

/// A server that says this and closes the connection.
async fn saying(answer: &'static str) -> SocketAddr {
    serve(move |mut connection| async move {
        request(&mut connection).await;
        connection.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn the_request_is_what_was_asked_for() {
    let (told, mut requests) = mpsc::unbounded_channel();
    let address = serve(move |mut connection| {
        let told = told.clone();
        async move {
            told.send(request(&mut connection).await).unwrap();
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    })
    .await;
    assert_eq!(ask(page(), address).await, Ok(()));
    let plain =
        format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nUser-Agent: slb\r\nAccept: */*\r\n\r\n");
    assert_eq!(requests.recv().await.unwrap(), plain);
    let header = |name: &str, value: &str| Header::new(name.to_owned(), value.to_owned()).unwrap();
    let question = HttpQuestion {
        method: Method::Post,
        path: "/health?deep=1".to_owned().try_into().unwrap(),
        host: Some("www.example.org".to_owned().try_into().unwrap()),
        headers: vec![header("user-agent", "me"), header("Accept", "text/plain"), header("X-Key", "k")],
        ..HttpQuestion::default()
    };
    let address = serve(move |mut connection| async move {
        let text = request(&mut connection).await;
        let expected = "POST /health?deep=1 HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\nContent-Length: 0\r\n\
                        user-agent: me\r\nAccept: text/plain\r\nX-Key: k\r\n\r\n";
        let status = if text == expected { "204" } else { "400" };
        connection.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
    })
    .await;
    assert_eq!(ask(Question::Http(Box::new(question)), address).await, Ok(()));
}

#[tokio::test]
async fn a_good_answer_is_one_however_slowly_it_comes() {
    let address = serve(|mut connection| async move {
        request(&mut connection).await;
        connection.set_nodelay(true).unwrap();
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nall is w\r\n3\r\nell\r\n0\r\n\r\n" {
            // The checker may have what it needs.
            let _ = connection.write_u8(*byte).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(ask(page(), address).await, Ok(()));
    assert_eq!(ask(body("all is well"), address).await, Ok(()));
    contains(ask(body("all is lost"), address).await, "\"all is lost\" is not in the body: \"all is well\"");
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    contains(ask(page(), saying("HTTP/1.1 503 No\r\n\r\n").await).await, "the status is 503, not 200-399");
    contains(ask(page(), saying("HTTP/1.1 200 OK\r\n").await).await, "closed in the middle");
    contains(ask(page(), saying("").await).await, "closed in the middle");
    contains(ask(page(), saying("220 smtp.example.org ESMTP\r\n").await).await, "the answer is not HTTP/1");
    contains(ask(body("x"), saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").await).await, "in the middle");
    contains(ask(page(), nobody().await).await, "cannot connect: Connection refused");
    let evil = saying("HTTP/1.1 200 OK\r\n\r\n\x1b[2J\nERROR all is lost").await;
    contains(ask(body("x"), evil).await, "the body: \"\\u{1b}[2J\\nERROR all is lost\"");
}

#[tokio::test]
async fn silence_and_resets_are_failures() {
    let silent = serve(|connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await;
    contains(ask_within(BRIEF, page(), silent).await, "no answer within 50ms");
    let half = serve(|mut connection| async move {
        connection.write_all(b"HTTP/1.1 200 OK\r\nA: ").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    contains(ask_within(BRIEF, page(), half).await, "no answer within 50ms");
    let resetting = serve(|mut connection| async move {
        request(&mut connection).await;
        connection.set_zero_linger().unwrap();
    })
    .await;
    contains(ask(page(), resetting).await, "cannot read the answer: Connection reset");
    let endless = serve(|mut connection| async move {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nA: ").await;
        while connection.write_all(&[b'x'; 1024]).await.is_ok() {}
    })
    .await;
    contains(ask(page(), endless).await, "the answer is not HTTP/1");
}
