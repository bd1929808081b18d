// SPDX-License-Identifier: Apache-2.0
//! User Mode Linux, of the Debian package `user-mode-linux`.

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command},
};

use rustix::thread::{CpuSet, sched_getaffinity};

use super::{Error, folder::Folder, job::Parts};

/// Where the package has the kernel's modules, and how a folder of the machine is mounted.
pub(super) const PARTS: Parts =
    Parts { modules: "/usr/lib/uml/modules", mount_out: "mount -t hostfs -o \"$folder\" out /run/out" };

/// Tells kernels apart that run side by side, by small numbers; the test runner sets it.
const SLOT: &str = "SLB_LAB_SLOT";

/// Starts the kernel with the folder's `init` as its first process.
pub(super) fn command(folder: &Folder) -> Result<Command, Error> {
    // The kernel ends when the test binary is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(processor) = processor() {
        command.args(["taskset", "--cpu-list", &processor.to_string()]);
    }
    command.arg("linux.uml");
    command.args(["mem=2G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"]);
    command.args(["con=null", "con0=fd:0,fd:1", "con1=null"]);
    command.arg(format!("init={}", folder.path("init").display()));
    command.arg(format!("uml_dir={}", folder.root().display()));
    if let Some(shim) = xstate_shim(folder)? {
        command.env("LD_PRELOAD", shim);
    }
    Ok(command)
}

/// The processor that is to have the kernel and all its processes: one of them runs at a time, and where they are on several, each system call
/// takes five times as long, or not, by chance.
fn processor() -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect();
    let slot = env::var(SLOT).ok().and_then(|slot| slot.parse::<usize>().ok());
    allowed.get(slot.unwrap_or_else(|| process::id() as usize) % allowed.len().max(1)).copied()
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
