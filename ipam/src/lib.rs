// SPDX-License-Identifier: Apache-2.0
//! Pools of addresses: where a load-balancer's VIP comes from
