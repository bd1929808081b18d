// SPDX-License-Identifier: Apache-2.0
//! slb turns a Linux box into a load-balancer appliance.
fn main() {}
