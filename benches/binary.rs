// SPDX-License-Identifier: Apache-2.0
//! Which slb is measured.

/// The binary that `SLB_BENCHED` named when this was built, as `make bench` does with the one that users get; else the one that cargo built.
pub const SLB: &str = match option_env!("SLB_BENCHED") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_slb"),
};
