// SPDX-License-Identifier: Apache-2.0
//! How the network learns where a VIP lives
