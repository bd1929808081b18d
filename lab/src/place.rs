// SPDX-License-Identifier: Apache-2.0
//! Where tests run: a kernel, and what balances in it.

use crate::{
    kernel::{Job, Kernel},
    plane,
};

/// A place. The names are those that test files use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "they are written as words in test files")]
pub enum Place {
    /// The fast kernel, with IPVS.
    fast,
    /// The stock kernel, with IPVS.
    stock,
    /// The fast kernel; slb balances in user space unless a test says otherwise.
    user,
}

impl Place {
    /// All, in the order in which they are visited.
    pub const ALL: [Self; 3] = [Self::fast, Self::stock, Self::user];

    /// Its name in test files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::fast => "fast",
            Self::stock => "stock",
            Self::user => "user",
        }
    }

    /// The kernel that is booted.
    #[must_use]
    pub fn kernel(self) -> Kernel {
        match self {
            Self::fast | Self::user => Kernel::fast,
            Self::stock => Kernel::stock,
        }
    }

    /// Tells every server there what to balance with.
    pub(crate) fn prepare(self, job: &mut Job) {
        let dataplane = match self {
            Self::fast | Self::stock => "auto",
            Self::user => "user",
        };
        job.set(plane::VARIABLE, dataplane);
    }
}
