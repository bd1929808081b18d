// SPDX-License-Identifier: Apache-2.0
//! `list`: all services and destinations, one service after the other, as ipvsadm would be told. Changes nothing.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use ipvs::{Client, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::open().await?;
    client
        .each(|service, destinations| {
            println!("{}", Request::NewService(service.as_requested().clone()));
            for destination in destinations {
                println!("{}", Request::NewDestination(*service.id(), *destination.as_requested()));
            }
        })
        .await?;
    Ok(())
}
