// SPDX-License-Identifier: Apache-2.0
//! A long list as JSON, made while the client takes it in: there is a piece of it in memory at a time, and not the whole.

use std::convert::Infallible;

use axum::body::Body;
use futures_util::stream;
use serde::Serialize;

/// About how long a piece is, in bytes. A list that fits into one is sent with its length.
const PIECE: usize = 64 << 10;

/// A list that is written piece by piece.
pub(crate) struct Pieces<I, W> {
    items: I,
    /// Writes one of them.
    write: W,
    begun: bool,
    ended: bool,
}

impl<T, I: Iterator<Item = T> + Send + 'static, W: FnMut(&mut Vec<u8>, T) + Send + 'static> Pieces<I, W> {
    /// The items as the function writes each.
    pub(crate) fn of(items: I, write: W) -> Self {
        Self { items, write, begun: false, ended: false }
    }

    /// The whole, with a newline at its end as the original writes it.
    pub(crate) fn into_body(mut self) -> Body {
        let first = self.next().unwrap_or_default();
        if self.ended {
            return Body::from(first);
        }
        Body::from_stream(stream::iter(std::iter::once(first).chain(self).map(Ok::<_, Infallible>)))
    }
}

impl<T, I: Iterator<Item = T>, W: FnMut(&mut Vec<u8>, T)> Iterator for Pieces<I, W> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                self.ended = true;
                piece.extend_from_slice(if self.begun { b"]\n" } else { b"[]\n" });
                break;
            };
            piece.push(if self.begun { b',' } else { b'[' });
            self.begun = true;
            (self.write)(&mut piece, item);
        }
        Some(piece)
    }
}

/// Writes a value as compact JSON.
#[expect(clippy::expect_used, reason = "bodies have text keys, and writing to memory does not fail")]
pub(crate) fn write(piece: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(piece, value).expect("a body of text keys and plain values");
}

#[cfg(test)]
mod tests {
    use axum::body::HttpBody;
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    fn pieces(texts: Vec<String>) -> Pieces<std::vec::IntoIter<String>, impl FnMut(&mut Vec<u8>, String) + Send> {
        Pieces::of(texts.into_iter(), |piece, text| write(piece, &text))
    }

    proptest! {
        #[test]
        fn together_they_are_the_whole(texts in proptest::collection::vec(".{0,9}", 0..9), times in 1_usize..800) {
            let texts: Vec<String> = std::iter::repeat_n(texts, times).flatten().collect();
            let whole = serde_json::to_string(&texts).expect("JSON") + "\n";
            let found: Vec<Vec<u8>> = pieces(texts).collect();
            prop_assert!(found.iter().all(|piece| piece.len() < PIECE + 100));
            prop_assert_eq!(String::from_utf8(found.concat()).expect("text"), whole);
        }
    }

    #[tokio::test]
    async fn what_fits_into_one_has_a_length() {
        let body = pieces(vec!["one".to_owned()]).into_body();
        assert_eq!(body.size_hint().exact(), Some(8));
        let long = pieces(vec!["long".repeat(PIECE); 3]).into_body();
        assert_eq!(long.size_hint().exact(), None);
        assert_eq!(long.collect().await.expect("a body").to_bytes().len(), 3 * (4 * PIECE + 3) + 2);
    }
}
