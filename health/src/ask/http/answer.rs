// SPDX-License-Identifier: Apache-2.0
//! Reads an answer of HTTP/1, piece by piece, until it is clear whether it is a good one (RFC 9112). Pure.

use httparse::{EMPTY_HEADER, Header, Status};
use slb_core::model::check::{HttpQuestion, Method};

use crate::failure::{Failure, quote};

/// Bytes of a head, at most, as servers have it.
const LONGEST_HEAD: usize = 16 << 10;
/// Headers, at most.
const MOST_HEADERS: usize = 100;
/// Bytes of a body that are searched.
const LONGEST_BODY: usize = 64 << 10;
/// Bytes of a line that says how long a chunk is, at most.
const LONGEST_CHUNK_LINE: usize = 1 << 10;

const GARBAGE: Failure = Failure::Garbage("HTTP/1");

/// An answer that is read.
pub(crate) struct Answer<'q> {
    question: &'q HttpQuestion,
    /// What has not been understood yet.
    left: Vec<u8>,
    /// `None`: the head has not been read.
    body: Option<Body>,
    /// The decoded body.
    found: Vec<u8>,
    /// So much of that has been searched.
    searched: usize,
}

/// What is left of a body.
#[derive(Clone, Copy)]
enum Body {
    /// Everything until the end of the connection.
    Rest,
    /// So many bytes.
    Length(u64),
    /// Chunks, with the line that says how long the next is.
    ChunkLine,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Nothing: the body is complete.
    Over,
}

type Verdict = Result<(), Failure>;

impl<'q> Answer<'q> {
    pub(crate) fn to(question: &'q HttpQuestion) -> Self {
        Self { question, left: Vec::new(), body: None, found: Vec::new(), searched: 0 }
    }

    /// Reads a piece. `None`: more is needed.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<Verdict> {
        self.left.extend_from_slice(bytes);
        while self.body.is_none() {
            match self.head() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(failure) => return Some(Err(failure)),
            }
        }
        if self.question.expect_body.is_none() {
            return Some(Ok(()));
        }
        // What was found counts, whatever follows it.
        let decoded = self.decode();
        let is_over = matches!(self.body, Some(Body::Over)) || self.found.len() >= LONGEST_BODY;
        match (self.search(is_over), decoded) {
            (None, Err(failure)) => Some(Err(failure)),
            (verdict, _) => verdict,
        }
    }

    /// The connection was closed.
    pub(crate) fn end(&mut self) -> Verdict {
        match self.body {
            Some(Body::Rest) => self.search(true).unwrap_or(Err(Failure::Half)),
            None | Some(Body::Length(_) | Body::ChunkLine | Body::Chunk(_) | Body::ChunkEnd | Body::Over) => {
                Err(Failure::Half)
            }
        }
    }

    /// Reads a head, if all of it is there. One that only announces another (1xx) is left out.
    fn head(&mut self) -> Result<bool, Failure> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(&self.left) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if self.left.len() < LONGEST_HEAD => return Ok(false),
            Ok(Status::Partial) | Err(_) => return Err(GARBAGE),
        };
        let status = head.code.unwrap_or_default();
        let is_interim = (100..200).contains(&status) && status != 101;
        if !is_interim {
            if !self.question.expect_status.contains(status) {
                let expected = &self.question.expect_status;
                return Err(Failure::Wrong(format!("the status is {status}, not {expected}")));
            }
            let is_empty = self.question.method == Method::Head || matches!(status, 101 | 204 | 304);
            self.body = Some(if is_empty { Body::Over } else { body(head.headers)? });
        }
        self.left.drain(..length);
        Ok(true)
    }

    /// Moves what is there of the body from `left` to `found`.
    fn decode(&mut self) -> Result<(), Failure> {
        while self.found.len() < LONGEST_BODY && !self.left.is_empty() {
            let next = match self.body {
                None | Some(Body::Over) => return Ok(()),
                Some(Body::Rest) => {
                    self.take(u64::MAX);
                    Body::Rest
                }
                Some(Body::Length(length)) => match length - self.take(length) {
                    0 => Body::Over,
                    length => Body::Length(length),
                },
                Some(Body::Chunk(length)) => match length - self.take(length) {
                    0 => Body::ChunkEnd,
                    length => Body::Chunk(length),
                },
                Some(Body::ChunkLine) => match httparse::parse_chunk_size(&self.left) {
                    Ok(Status::Complete((length, size))) => {
                        self.left.drain(..length);
                        if size == 0 { Body::Over } else { Body::Chunk(size) }
                    }
                    Ok(Status::Partial) if self.left.len() < LONGEST_CHUNK_LINE => return Ok(()),
                    Ok(Status::Partial) | Err(_) => return Err(GARBAGE),
                },
                Some(Body::ChunkEnd) if self.left.starts_with(b"\r\n") => {
                    self.left.drain(..2);
                    Body::ChunkLine
                }
                Some(Body::ChunkEnd) if self.left == b"\r" => return Ok(()),
                Some(Body::ChunkEnd) => return Err(GARBAGE),
            };
            self.body = Some(next);
        }
        Ok(())
    }

    /// Takes up to so many bytes of the body, and says how many.
    fn take(&mut self, length: u64) -> u64 {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.left.len());
        self.found.extend(self.left.drain(..length));
        length as u64
    }

    fn search(&mut self, is_over: bool) -> Option<Verdict> {
        let expected = self.question.expect_body.as_ref()?;
        self.found.truncate(LONGEST_BODY);
        let new = self.searched.saturating_sub(expected.bytes().len());
        if expected.is_in(self.found.get(new..).unwrap_or_default()) {
            return Some(Ok(()));
        }
        self.searched = self.found.len();
        is_over.then(|| Err(Failure::Wrong(format!("\"{expected}\" is not in the body: \"{}\"", quote(&self.found)))))
    }
}

/// How the body ends, RFC 9112 section 6.3.
fn body(headers: &[Header<'_>]) -> Result<Body, Failure> {
    let values = |name: &'static str| {
        headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    if let Some(coding) = values("transfer-encoding").next_back() {
        let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        return Ok(if last.trim_ascii().eq_ignore_ascii_case(b"chunked") { Body::ChunkLine } else { Body::Rest });
    }
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok();
    match values("content-length").next().map(number) {
        None => Ok(Body::Rest),
        Some(Some(0)) => Ok(Body::Over),
        Some(Some(length)) => Ok(Body::Length(length)),
        Some(None) => Err(GARBAGE),
    }
}

#[cfg(test)]
mod tests;
