// SPDX-License-Identifier: Apache-2.0
//! Calls grpc.health.v1.Health/Check (github.com/grpc/grpc, doc/health-checking.md) over HTTP/2.

use std::net::SocketAddr;

use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request, StatusCode};
use prost::{Message, bytes::Bytes};
use slb_core::model::check::GrpcQuestion;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
};

use crate::failure::{Failure, quote};

/// Bytes of an answer, at most.
const LONGEST: usize = 16 << 10;
/// Whether a message is compressed, and its length.
const PREFIX: usize = 5;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

pub(super) async fn ask(
    question: &GrpcQuestion,
    to: SocketAddr,
    connection: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), Failure> {
    let (client, connection) = h2::client::handshake(connection).await.map_err(broken)?;
    select! {
        // What has been answered counts, even if the connection ended with it.
        biased;
        verdict = call(question, to, client) => verdict,
        ended = connection => Err(ended.map_or_else(broken, |()| Failure::Half)),
    }
}

async fn call(question: &GrpcQuestion, to: SocketAddr, client: SendRequest<Bytes>) -> Result<(), Failure> {
    let scheme = if question.tls.is_some() { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{to}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "slb")
        .body(())
        .map_err(|error| Failure::Wrong(format!("cannot ask for that: {error}")))?;
    let mut client = client.ready().await.map_err(broken)?;
    let (response, mut sender) = client.send_request(request, false).map_err(broken)?;
    let message = HealthCheckRequest { service: question.service.as_str().to_owned() }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    let body = [&[0], &length[..], &message].concat();
    sender.send_data(body.into(), true).map_err(broken)?;
    let (head, body) = response.await.map_err(broken)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(Failure::Wrong(format!("the status of HTTP is {}, not 200", head.status.as_u16())));
    }
    // Without a message the status may come with the head.
    status(&head.headers).unwrap_or(Ok(()))?;
    let (message, trailers) = read(body).await?;
    status(&trailers.unwrap_or_default()).unwrap_or(Err(Failure::Half))?;
    serving(&message)
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), Failure> {
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        message.extend_from_slice(&piece.map_err(broken)?);
        if message.len() > LONGEST {
            return Err(Failure::Garbage("one of grpc.health.v1"));
        }
    }
    Ok((message, body.trailers().await.map_err(broken)?))
}

/// What the call ended with, if this says so.
fn status(headers: &HeaderMap) -> Option<Result<(), Failure>> {
    let status = headers.get("grpc-status")?;
    if status.as_bytes() == b"0" {
        return Some(Ok(()));
    }
    let words = headers.get("grpc-message").map(|words| format!(": {}", quote(words.as_bytes())));
    let status = quote(status.as_bytes());
    Some(Err(Failure::Wrong(format!("the call ended with status {status}{}", words.unwrap_or_default()))))
}

/// Whether a message says that all is well.
fn serving(message: &[u8]) -> Result<(), Failure> {
    let garbage = Failure::Garbage("one of grpc.health.v1");
    let Some(([0, length @ ..], message)) = message.split_first_chunk::<PREFIX>() else { return Err(garbage) };
    if u32::from_be_bytes(*length) as usize != message.len() {
        return Err(garbage);
    }
    let Ok(response) = HealthCheckResponse::decode(message) else { return Err(garbage) };
    let status = match response.status() {
        ServingStatus::Serving => return Ok(()),
        ServingStatus::NotServing => "NOT_SERVING",
        ServingStatus::ServiceUnknown => "SERVICE_UNKNOWN",
        ServingStatus::Unknown => "UNKNOWN",
    };
    Err(Failure::Wrong(format!("the service is {status}")))
}

fn broken(error: h2::Error) -> Failure {
    Failure::Wrong(format!("cannot speak HTTP/2: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_serving_is_well() {
        let says = |message: &[u8]| serving(message).map_err(|failure| failure.to_string());
        assert_eq!(says(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert_eq!(says(&[0, 0, 0, 0, 2, 8, 2]), Err("the service is NOT_SERVING".to_owned()));
        assert_eq!(says(&[0, 0, 0, 0, 2, 8, 99]), Err("the service is UNKNOWN".to_owned()));
        assert_eq!(says(&[0, 0, 0, 0, 0]), Err("the service is UNKNOWN".to_owned()));
        for garbage in [&[][..], &[0; 4], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 3, 8, 1], &[0, 0, 0, 0, 1, 8]] {
            assert!(says(garbage).is_err_and(|why| why.contains("not one of grpc.health.v1")), "{garbage:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = serving(&bytes);
        }
    }
}
