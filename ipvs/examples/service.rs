// SPDX-License-Identifier: Apache-2.0
//! `service ADDRESS PORT SCHEDULER`: makes the TCP service there what is asked for, whether it is there already or not;
//! `service ADDRESS PORT` removes it.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use ipvs::{Client, Request, Service, ServiceId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err("service ADDRESS PORT [SCHEDULER]".into());
    };
    let id = ServiceId::tcp(address.parse()?, port.parse()?);
    let mut client = Client::open().await?;
    let Some(scheduler) = arguments.next() else {
        return Ok(client.execute(Request::DelService(id)).await?);
    };
    let service = Service::new(id, scheduler.parse()?);
    match client.execute(Request::NewService(service.clone())).await {
        Err(error) if error.already_exists() => client.execute(Request::SetService(service)).await?,
        other => other?,
    }
    println!("{}", client.service(&id).await?.as_requested());
    Ok(())
}
