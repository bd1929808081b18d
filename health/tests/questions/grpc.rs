// SPDX-License-Identifier: Apache-2.0
//! Services of gRPC, by tonic's server: somebody else's opinion of the protocol.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use slb_core::model::check::GrpcQuestion;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::*;

type Reply<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// grpc.health.v1.Health: it serves as a whole, `sick` does not, and it knows no other.
#[derive(Clone)]
struct Health;

impl UnaryService<HealthCheckRequest> for Health {
    type Response = HealthCheckResponse;
    type Future = Reply<Result<tonic::Response<HealthCheckResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<HealthCheckRequest>) -> Self::Future {
        let answer = match request.into_inner().service.as_str() {
            "" => Ok(1),
            "sick" => Ok(2),
            _ => Err(Status::not_found("unknown service")),
        };
        Box::pin(async move { answer.map(|status| tonic::Response::new(HealthCheckResponse { status })) })
    }
}

impl tower::Service<Request<Body>> for Health {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Reply<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Self, request).await) })
    }
}

impl NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(Health, incoming));
    address
}

fn service(name: &str) -> Question {
    Question::Grpc(GrpcQuestion { service: name.to_owned().try_into().unwrap(), tls: None })
}

#[tokio::test]
async fn a_service_serves_or_does_not() {
    let address = server().await;
    assert_eq!(ask(service(""), address).await, Ok(()));
    contains(ask(service("sick"), address).await, "the service is NOT_SERVING");
    contains(ask(service("other"), address).await, "the call ended with status 5: unknown");
}

#[tokio::test]
async fn who_speaks_no_grpc_is_told() {
    let page = serve(|mut connection| async move {
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        while connection.read_u8().await.is_ok() {}
    })
    .await;
    contains(ask(service(""), page).await, "cannot speak HTTP/2");
    let closing = serve(|mut connection| async move {
        let _ = connection.read_u8().await;
    })
    .await;
    assert!(ask(service(""), closing).await.is_err());
    let silent = serve(|connection| async move {
        std::future::pending::<()>().await;
        drop(connection);
    })
    .await;
    contains(ask_within(BRIEF, service(""), silent).await, "no answer within 50ms");
}
