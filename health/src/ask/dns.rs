// SPDX-License-Identifier: Apache-2.0
//! Asks a name server over UDP.

mod message;

use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
};

use slb_core::model::check::DnsQuestion;

use self::message::{Answer, query, read};
use super::{udp, way::Way};
use crate::failure::{Failure, quote};

/// Bytes of an answer that are read; servers send 512 at most to who asks like this (RFC 1035 section 4.2.1).
const LONGEST: usize = 4 << 10;

pub(super) async fn ask(question: &DnsQuestion, to: SocketAddr, way: Way) -> Result<(), Failure> {
    let socket = udp::open(to, way).await?;
    let id = RandomState::new().hash_one(to) as u16;
    socket.send(&query(id, question)).await.map_err(Failure::to("send the query"))?;
    let mut bytes = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut bytes).await.map_err(Failure::to("read the answer"))?;
        let message = bytes.get(..length).unwrap_or_default();
        // What is a bare echo, or answers another query, is no answer.
        let Some(answer) = read(id, question.record_type, message).ok_or(Failure::Garbage("one of DNS"))? else {
            continue;
        };
        return judge(question, &answer);
    }
}

fn judge(question: &DnsQuestion, answer: &Answer) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::Wrong(why));
    if answer.code != 0 {
        return wrong(format!("the server answers {}", message::code_name(answer.code)));
    }
    let is_good = match &question.expect {
        None => !answer.records.is_empty(),
        Some(expected) => answer.records.iter().any(|record| expected.is(record)),
    };
    let (name, kind) = (&question.name, question.record_type.name());
    match &question.expect {
        _ if is_good => Ok(()),
        _ if answer.is_cut => wrong("the answer did not fit into a datagram".to_owned()),
        Some(expected) if !answer.records.is_empty() => {
            let records = quote(answer.records.join(", ").as_bytes());
            wrong(format!(
                "{} is none of the records of type {kind} of {name}: {records}",
                quote(expected.as_str().as_bytes())
            ))
        }
        _ => wrong(format!("there are no records of type {kind} of {name}")),
    }
}
