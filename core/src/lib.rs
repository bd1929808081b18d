// SPDX-License-Identifier: Apache-2.0
//! The words, the decisions and the ports of slb: pure, without I/O
