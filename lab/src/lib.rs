// SPDX-License-Identifier: Apache-2.0
//! Real-kernel tests as `cargo test` targets: boots a kernel with IPVS and runs the test binary inside it.
//!
//! A test file has `harness = false` in its `Cargo.toml`, plain functions that panic when they fail, and ends in a list of them:
//! ```ignore
//! fn balances() { … }
//! slb_lab::main! { fast, stock, user: [balances] }
//! ```
//! ```text
//!  cargo test ──▶ test binary ──▶ boots a kernel ──▶ the same binary, inside ──▶ the tests, one after the other
//!                      ▲                                                             │
//!                      └───── output as it comes, exit code through a file ◀────────┘
//! ```
//! [`harness`] is that; [`kernel`] boots; [`Place`] is a kernel with what balances in it, the [`Plane`].
//! [`Segment`] and [`Node`] are hosts on a network, each a network namespace; [`Process`] is a program on one of them, [`Server`] slb,
//! [`Site`] a whole site with it, [`Sniffer`] what was on the wire, [`Writes`] what a kernel was asked to change; [`http`] asks,
//! [`Backend`] answers, [`Schemathesis`] holds a server against its description; [`wait`] is for what has no event, and [`Dice`] are
//! chance that a seed repeats; [`findings`] are what benchmarks find. [`Loopback`] is slb without privileges, for tests that need no kernel of their own.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod backend;
mod dice;
pub mod findings;
pub mod harness;
pub mod http;
pub mod kernel;
pub mod loopback;
mod node;
mod place;
mod plane;
mod process;
mod schemathesis;
mod segment;
mod server;
pub mod site;
mod sniffer;
pub mod wait;
mod writes;

pub use self::{
    backend::Backend, dice::Dice, loopback::Loopback, node::Node, place::Place, plane::Plane, process::Process,
    schemathesis::Schemathesis, segment::Segment, server::Server, site::Site, sniffer::Sniffer, writes::Writes,
};

/// The `main` of a test file: for one [`Place`] or several the tests that run there.
#[macro_export]
macro_rules! main {
    ($($($place:ident),+: $tests:tt),* $(,)?) => {
        fn main() -> std::process::ExitCode {
            $crate::harness::run(&[$($(&$crate::main!(@ $place $tests)[..]),+),*].concat())
        }
    };
    (@ $place:ident [$($test:ident),* $(,)?]) => {
        [$($crate::harness::Test {
            place: $crate::Place::$place,
            name: concat!(stringify!($place), "::", stringify!($test)),
            body: $test,
        }),*]
    };
}
