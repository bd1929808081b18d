// SPDX-License-Identifier: Apache-2.0
//! Real-kernel tests: boots a kernel with IPVS and runs the test binary inside it
