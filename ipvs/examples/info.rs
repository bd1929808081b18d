// SPDX-License-Identifier: Apache-2.0
//! `info`: version of IPVS, size of its connection table, time-outs, and the daemons that run. Changes nothing.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use ipvs::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::open().await?;
    let info = client.info().await?;
    println!("IPVS {}, connection table of {} buckets", info.version, info.connection_table_size);
    println!("time-outs in seconds (TCP, TCP after FIN, UDP): {}", client.timeouts().await?);
    for daemon in client.daemons().await? {
        println!("daemon: {daemon}");
    }
    Ok(())
}
