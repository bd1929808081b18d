// SPDX-License-Identifier: Apache-2.0
//! What forwards packets: the kernel's IPVS
