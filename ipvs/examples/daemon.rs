// SPDX-License-Identifier: Apache-2.0
//! `daemon INTERFACE`: starts a synchronisation daemon that sends this host's connections through an interface;
//! `daemon` stops it.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use ipvs::{Client, Daemon, DaemonRole, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = Client::open().await?;
    let request = match std::env::args().nth(1) {
        Some(interface) => Request::NewDaemon(Daemon::new(DaemonRole::Master, interface.parse()?, 1)),
        None => Request::DelDaemon(DaemonRole::Master),
    };
    client.execute(request).await?;
    for daemon in client.daemons().await? {
        println!("{daemon}");
    }
    Ok(())
}
