// SPDX-License-Identifier: Apache-2.0
//! What a process has of descriptors and of memory.

use std::{fs, io};

/// At one moment, or on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub descriptors: u64,
    /// Resident, in kB.
    pub memory: u64,
}

impl Usage {
    /// Of a process now.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(process: u32) -> io::Result<Self> {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?.count();
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let memory =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        Ok(Self {
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
            memory: memory.ok_or(io::ErrorKind::InvalidData)?,
        })
    }

    /// On average; nothing of nothing.
    pub fn mean(all: &[Self]) -> Self {
        let many = u64::try_from(all.len()).unwrap_or(u64::MAX).max(1);
        let sum = |of: fn(&Self) -> u64| all.iter().map(of).sum::<u64>() / many;
        Self { descriptors: sum(|each| each.descriptors), memory: sum(|each| each.memory) }
    }
}
