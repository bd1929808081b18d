// SPDX-License-Identifier: Apache-2.0
//! Desired state on disk, durable and transactional
