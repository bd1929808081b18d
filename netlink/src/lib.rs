// SPDX-License-Identifier: Apache-2.0
//! Netlink requests packed many to a send, errors mapped back to the request that failed, dumps streamed
