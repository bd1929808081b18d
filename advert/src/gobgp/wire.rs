// SPDX-License-Identifier: Apache-2.0
//! GoBGP's API, made at build time from `proto/`. The modules bear the names of the packages there.

/// The messages.
pub(super) mod gobgp {
    tonic::include_proto!("gobgp");
}

/// The service of version 3.
pub(super) mod apipb {
    tonic::include_proto!("apipb");
}

/// The service of version 4.
pub(super) mod api {
    tonic::include_proto!("api");
}
