// SPDX-License-Identifier: Apache-2.0
//! Linux IPVS over generic netlink: every command and attribute of linux/ip_vs.h
