// SPDX-License-Identifier: Apache-2.0
//! A stock Debian kernel under qemu, as lab/setup has unpacked it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Error, folder::Folder, job::Parts};

/// Where lab/setup puts the kernel and its initial file system.
const KERNEL: &str = "/var/cache/slb-lab/stock";

/// Where lab/setup puts the kernel's modules, and how a folder of the machine is mounted.
pub(super) const PARTS: Parts = Parts {
    modules: "/var/cache/slb-lab/stock/modules",
    mount_out: "mount -t 9p -o trans=virtio,version=9p2000.L out /run/out",
};

/// Starts the kernel with the folder's `init` as its first process.
pub(super) fn command(folder: &Folder) -> Result<Command, Error> {
    // The kernel ends when the test binary is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "qemu-system-x86_64"]);
    command.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1G", "-nographic", "-no-reboot", "-nodefaults"]);
    command.args(["-serial", "stdio", "-cpu", "max"]);
    command.arg("-kernel").arg(part("vmlinuz")?).arg("-initrd").arg(part("initrd")?);
    share(&mut command, "host", Path::new("/"), ",readonly=on");
    share(&mut command, "out", folder.root(), "");
    command.arg("-append");
    command.arg(format!("console=ttyS0 quiet panic=-1 slb_init={}", folder.path("init").display()));
    Ok(command)
}

/// Lets the kernel mount a folder of the machine by a name.
fn share(command: &mut Command, name: &str, folder: &Path, more: &str) {
    let path = folder.display();
    command.arg("-fsdev").arg(format!("local,id={name},path={path},security_model=none,multidevs=remap{more}"));
    command.arg("-device").arg(format!("virtio-9p-pci,fsdev={name},mount_tag={name}"));
}

fn part(name: &str) -> Result<PathBuf, Error> {
    let path = PathBuf::from(KERNEL).join(name);
    if path.exists() { Ok(path) } else { Err(Error(format!("{} is not there: run `make setup`", path.display()))) }
}
