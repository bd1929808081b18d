// SPDX-License-Identifier: Apache-2.0
//! Backends that expect to be told who their clients are.

use slb_core::proxy_header;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::*;

fn check(question: Question) -> Check {
    let timing = Timing::every(PATIENT).unwrap();
    Check { question, timing, address: Address::default(), port: None, source: None }
}

#[tokio::test]
async fn a_connection_begins_with_what_tells_that_it_is_a_check() {
    for version in ProxyProtocol::ALL {
        let (told, mut headers) = mpsc::unbounded_channel();
        let address = serve(move |mut connection| {
            let told = told.clone();
            async move {
                let mut header = vec![0; proxy_header::own(version).len()];
                // The reset comes after it.
                connection.read_exact(&mut header).await.unwrap();
                told.send(header).unwrap();
            }
        })
        .await;
        assert_eq!(make_proxied(Some(version), check(Question::Tcp), address).await, Ok(()));
        assert_eq!(headers.recv().await.unwrap(), proxy_header::own(version));
    }
}

#[tokio::test]
async fn a_request_follows_it() {
    let version = ProxyProtocol::V1;
    let address = serve(move |mut connection| async move {
        let mut header = vec![0; proxy_header::own(version).len()];
        connection.read_exact(&mut header).await.unwrap();
        let mut method = [0; 4];
        connection.read_exact(&mut method).await.unwrap();
        let status = if header == proxy_header::own(version) && method == *b"GET " { 200 } else { 400 };
        connection.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        let _ = connection.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let check = check(Question::Http(Box::default()));
    assert_eq!(make_proxied(Some(version), check.clone(), address).await, Ok(()));
    contains(make(check, address).await, "400");
}
