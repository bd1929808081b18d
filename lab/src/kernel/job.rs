// SPDX-License-Identifier: Apache-2.0
//! What a kernel is booted for: a program, its arguments, environment and working folder, and the script that runs it.

use std::{
    env,
    io::{self, IsTerminal},
    path::PathBuf,
};

use super::{Error, folder::Folder};

/// The script prints these around the output of the program.
pub(super) const BEGIN: &str = "slb-lab: begin";
pub(super) const END: &str = "slb-lab: end";

/// What a job sees of the environment: names that begin like this.
const VARIABLES: [&str; 5] = ["CARGO_", "RUST_", "PROPTEST_", "SLB_", "PATH"];

/// What differs between the kernels, in the words of the shell.
pub(super) struct Parts {
    /// Where the modules of kernels are, each in a folder of its release's name.
    pub(super) modules: &'static str,
    /// Mounts the machine's folder `$folder` on `/run/out`.
    pub(super) mount_out: &'static str,
}

/// A program to run in a kernel.
#[derive(Debug)]
pub struct Job {
    words: Vec<String>,
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

impl Job {
    /// The running binary, with its own arguments and the part of its environment that tests are steered by.
    ///
    /// # Errors
    /// The binary was removed.
    pub fn this_binary() -> Result<Self, Error> {
        let exe = env::current_exe().map_err(|error| Error(format!("this binary cannot be found: {error}")))?;
        let folder = env::current_dir().map_err(|error| Error(format!("the working folder: {error}")))?;
        let arguments: Vec<String> = env::args().skip(1).collect();
        // What it prints goes to a terminal inside; so what it looks like is decided here.
        let is_plain = !io::stdout().is_terminal() && !arguments.iter().any(|word| word.starts_with("--color"));
        let plain = is_plain.then(|| "--color=never".to_owned());
        let words = [exe.to_string_lossy().into_owned()].into_iter().chain(arguments).chain(plain).collect();
        let is_seen = |(name, _): &(String, String)| VARIABLES.iter().any(|start| name.starts_with(start));
        Ok(Self { words, folder, variables: env::vars().filter(is_seen).collect() })
    }

    /// Sets a variable of its environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The script that is the first process of a kernel.
    pub(super) fn init(&self, parts: Parts, folder: &Folder) -> String {
        let (modules, mount_out) = (parts.modules, parts.mount_out);
        let (out, here) = (quote(&folder.root().to_string_lossy()), quote(&self.folder.to_string_lossy()));
        let words: Vec<String> = self.words.iter().map(|word| quote(word)).collect();
        let variables = self.variables.iter().map(|(name, value)| format!("export {name}={}", quote(value)));
        let lines = [
            format!("#!/bin/sh\nmodules={modules}\nfolder={out}\nmount_out() {{ {mount_out}; }}"),
            include_str!("init.sh").to_owned(),
            variables.collect::<Vec<_>>().join("\n"),
            format!("PATH=$PATH:/usr/sbin:/sbin\ncd {here}\necho '{BEGIN}'\ncode=0\n{} || code=$?", words.join(" ")),
            format!("echo $code >/run/out/result\necho '{END}'\npoweroff -f\n"),
        ];
        lines.join("\n")
    }
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
