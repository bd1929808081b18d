// SPDX-License-Identifier: Apache-2.0
//! Makes the client of GoBGP's API from its description, without a `protoc` binary.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let services = protox::compile(["v3.proto", "v4.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).build_transport(false).compile_fds(services)?;
    Ok(())
}
