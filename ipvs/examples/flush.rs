// SPDX-License-Identifier: Apache-2.0
//! `flush`: removes all services and destinations, whoever made them.

use ipvs::{Client, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ipvs::Error> {
    Client::open().await?.execute(Request::Flush).await
}
