// SPDX-License-Identifier: Apache-2.0
//! User Mode Linux, of the Debian package `user-mode-linux`.

use std::{fs, path::PathBuf, process::Command};

use super::{Error, folder::Folder, job::Parts};

/// Where the package has the kernel's modules, and how a folder of the machine is mounted.
pub(super) const PARTS: Parts =
    Parts { modules: "/usr/lib/uml/modules", mount_out: "mount -t hostfs -o \"$folder\" out /run/out" };

/// Starts the kernel with the folder's `init` as its first process.
pub(super) fn command(folder: &Folder) -> Result<Command, Error> {
    // The kernel ends when the test binary is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "linux.uml"]);
    command.args(["mem=1G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"]);
    command.args(["con=null", "con0=fd:0,fd:1", "con1=null"]);
    command.arg(format!("init={}", folder.path("init").display()));
    command.arg(format!("uml_dir={}", folder.root().display()));
    if let Some(shim) = xstate_shim(folder)? {
        command.env("LD_PRELOAD", shim);
    }
    Ok(command)
}

/// The 6.1 kernel reserves less room for a process's extended registers than processors with AMX need, and ptrace then
/// refuses to write them. On those a small library widens what it writes; see xstate.c.
fn xstate_shim(folder: &Folder) -> Result<Option<PathBuf>, Error> {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !flags.contains(" amx_tile") {
        return Ok(None);
    }
    let source = folder.write("xstate.c", include_str!("xstate.c"))?;
    let shim = folder.path("xstate.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&shim).arg(&source).output();
    match built {
        Ok(output) if output.status.success() => Ok(Some(shim)),
        Ok(output) => Err(Error(format!("cc {}: {}", source.display(), String::from_utf8_lossy(&output.stderr)))),
        Err(error) => Err(Error(format!("cc: {error}; `make setup` installs what tests need"))),
    }
}
