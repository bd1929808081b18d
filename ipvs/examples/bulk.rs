// SPDX-License-Identifier: Apache-2.0
//! Programs many services with many destinations in packs, reads all back, removes them, and says how long each took.
//!
//! `bulk [services] [destinations of each]`; 2,000 and 10 without arguments. **It adds to what the kernel has and removes only
//! its own**, 10.128.0.0/9 port 8000.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use ipvs::{Client, Destination, Forward, Request, Service, ServiceId, scheduler};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let services = numbers.next().transpose()?.unwrap_or(2_000);
    let destinations = numbers.next().transpose()?.unwrap_or(10);

    let mut client = Client::open().await?;
    let ids: Vec<_> = (1..=services).map(|n| ServiceId::tcp(address(n), 8000)).collect();
    let requests: Vec<_> = ids
        .iter()
        .flat_map(|id| {
            let service = Request::NewService(Service::new(*id, scheduler::RR));
            let destination = |n| Destination::new(address(n), 8000, Forward::Masquerade);
            let all = (1..=destinations).map(move |n| Request::NewDestination(*id, destination(n)));
            std::iter::once(service).chain(all)
        })
        .collect();

    let start = Instant::now();
    let refused = client.batch(&requests).await?.into_iter().filter(Result::is_err).count();
    println!("program {} objects: {:?}, {refused} refused", requests.len(), start.elapsed());

    let start = Instant::now();
    let mut read = 0;
    client.each(|_, destinations| read += 1 + destinations.len()).await?;
    println!("read {read} objects: {:?}", start.elapsed());

    let start = Instant::now();
    let again = client.batch(&requests).await?.into_iter().filter(Result::is_err).count();
    println!("program all again: {:?}, {again} refused", start.elapsed());

    let requests: Vec<_> = ids.into_iter().map(Request::DelService).collect();
    let start = Instant::now();
    client.batch(&requests).await?;
    println!("remove: {:?}", start.elapsed());
    Ok(())
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 0)) + number).into()
}
