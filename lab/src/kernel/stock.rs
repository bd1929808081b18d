// SPDX-License-Identifier: Apache-2.0
//! A stock Debian kernel under qemu, as `make setup` has unpacked it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;

/// Where `lab/setup` puts the kernel and its initial file system.
const FOLDER: &str = "/var/cache/slb-lab/stock";

/// Where `lab/setup` puts the kernel's modules.
pub(super) const MODULES: &str = "/var/cache/slb-lab/stock/modules";

/// Starts the kernel with `folder/init` as its first process.
pub(super) fn command(folder: &Path) -> Result<Command, Error> {
    let part = |name: &str| {
        let path = PathBuf::from(FOLDER).join(name);
        if path.exists() { Ok(path) } else { Err(Error(format!("{} is not there: run `make setup`", path.display()))) }
    };
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1G", "-nographic", "-no-reboot", "-nodefaults"]);
    command.args(["-serial", "stdio", "-cpu", "max"]);
    command.arg("-kernel").arg(part("vmlinuz")?).arg("-initrd").arg(part("initrd")?);
    command.args(["-fsdev", "local,id=host,path=/,security_model=none,multidevs=remap"]);
    command.args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
    command.arg("-append").arg(format!("console=ttyS0 quiet panic=-1 slb_init={}", folder.join("init").display()));
    Ok(command)
}
