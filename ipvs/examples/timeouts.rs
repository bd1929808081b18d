// SPDX-License-Identifier: Apache-2.0
//! `timeouts TCP TCP-FIN UDP`: sets the time-outs of connections, in seconds; 0 leaves one as it is.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use ipvs::{Client, Request, Timeouts};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds: Vec<u32> = std::env::args().skip(1).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    let &[tcp, tcp_fin, udp] = seconds.as_slice() else {
        return Err("timeouts TCP TCP-FIN UDP".into());
    };
    let mut client = Client::open().await?;
    client.execute(Request::SetTimeouts(Timeouts { tcp, tcp_fin, udp })).await?;
    println!("{}", client.timeouts().await?);
    Ok(())
}
