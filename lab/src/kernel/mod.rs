// SPDX-License-Identifier: Apache-2.0
//! Boots a kernel on top of the machine's own file system and runs a program in it.
//!
//! [`job`] is what to run; [`fast`] and [`stock`] start a kernel; init.sh is its first process; [`console`] follows what it
//! prints; [`folder`] is where its exit code comes out.
//!
//! The kernel sees the machine's files, so every program and the test binary are there. What it writes stays in its memory. A
//! kernel that does not boot, dies, or takes too long is an error and never a skip.

mod console;
mod fast;
mod folder;
mod job;
mod stock;

use std::{error, fmt, fs};

use self::folder::Folder;
pub use self::job::Job;

/// A kernel that tests run on. The names are those that test files use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "they are written as words in test files")]
pub enum Kernel {
    /// User Mode Linux: boots in seconds; has everything but nf_tables' ip families, and one processor.
    fast,
    /// A stock Debian kernel under emulation: slow, and what users have.
    stock,
}

/// Why the tests were not run to their end.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Error {}

impl Kernel {
    /// Its name in test files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::fast => "fast",
            Self::stock => "stock",
        }
    }

    /// Boots, runs the job, passes on what it prints and says whether it succeeded.
    ///
    /// # Errors
    /// The kernel did not boot, died, or took too long: shows the end of its console and says where the whole of it is.
    pub fn run(self, job: &Job) -> Result<bool, Error> {
        let folder = Folder::new()?;
        let (mut command, parts) = match self {
            Self::fast => (fast::command(&folder)?, fast::PARTS),
            Self::stock => (stock::command(&folder)?, stock::PARTS),
        };
        folder.write("init", &job.init(parts, &folder))?;
        let console = console::follow(&mut command);
        let failure = match (console.failure, fs::read_to_string(folder.path("result"))) {
            (None, Ok(code)) => return Ok(code == "0\n"),
            (None, Err(_)) => "ended without a result".to_owned(),
            (Some(failure), _) => failure,
        };
        folder.write("console", &console.lines.join("\n"))?;
        let kept = folder.keep();
        let tail = console.lines[console.lines.len().saturating_sub(console::TAIL)..].join("\n");
        Err(Error(format!("the {} kernel {failure}; its console ({}):\n{tail}", self.name(), kept.display())))
    }
}
