// SPDX-License-Identifier: Apache-2.0
//! The Linux host around IPVS: addresses, links, settings, modules, source NAT
