// SPDX-License-Identifier: Apache-2.0
//! `stats`: counters of all services and their destinations; `stats zero` zeroes them afterwards.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use ipvs::{Client, Request, Stats};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::open().await?;
    client
        .each(|service, destinations| {
            println!("{} {}", service.id(), line(&service.stats));
            for destination in destinations {
                let (active, inactive) = (destination.active_connections, destination.inactive_connections);
                println!(
                    "  {} {}, now {active} active, {inactive} inactive",
                    destination.id(),
                    line(&destination.stats)
                );
            }
        })
        .await?;
    if std::env::args().nth(1).as_deref() == Some("zero") {
        client.execute(Request::ZeroAll).await?;
    }
    Ok(())
}

fn line(stats: &Stats) -> String {
    let Stats { connections, in_packets, in_bytes, out_packets, out_bytes, .. } = stats;
    format!("{connections} connections, {in_packets} packets ({in_bytes} bytes) in, {out_packets} ({out_bytes}) out")
}
