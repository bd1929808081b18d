// SPDX-License-Identifier: Apache-2.0
//! `destination ADDRESS PORT REAL-ADDRESS WEIGHT`: gives the TCP service there a destination of that weight, by masquerading, whether
//! it is there already or not; without a weight, removes it.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use ipvs::{Client, Destination, DestinationId, Forward, Request, ServiceId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(port), Some(real)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("destination ADDRESS PORT REAL-ADDRESS [WEIGHT]".into());
    };
    let port = port.parse()?;
    let service = ServiceId::tcp(address.parse()?, port);
    let id = DestinationId { address: real.parse()?, port };
    let mut client = Client::open().await?;
    let Some(weight) = arguments.next() else {
        return Ok(client.execute(Request::DelDestination(service, id)).await?);
    };
    let plain = Destination::new(id.address, id.port, Forward::Masquerade);
    let destination = Destination { weight: weight.parse()?, ..plain };
    match client.execute(Request::NewDestination(service, destination)).await {
        Err(error) if error.already_exists() => client.execute(Request::SetDestination(service, destination)).await?,
        other => other?,
    }
    for destination in client.destinations(&service).await? {
        println!("{}", destination.as_requested());
    }
    Ok(())
}
