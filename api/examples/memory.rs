// SPDX-License-Identifier: Apache-2.0
//! The API with nothing behind it but memory: for clients to try themselves on, and for tools that test APIs.
//!
//! `cargo run -p slb-api --example memory -- 127.0.0.1:10001`

#[path = "../tests/api/memory.rs"]
mod memory;

use std::{env, error::Error, io::Write, net::Ipv4Addr};

use tokio::net::TcpListener;

/// Enough for any test: 10.0.0.1 to 10.1.0.0.
const RANGE: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 0, 0, 1), 65_536);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:10001".to_owned());
    let listener = TcpListener::bind(&address).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let (mailbox, board, _faults) = memory::start(RANGE.0, RANGE.1);
    board.post_ready();
    slb_api::serve(listener, slb_api::router(mailbox, board, slb_api::Options::default()), std::future::pending())
        .await;
    Ok(())
}
