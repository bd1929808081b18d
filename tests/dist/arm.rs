// SPDX-License-Identifier: Apache-2.0
//! The armv7 binary in a 32-bit ARM kernel under emulation, where pointers and longs have half the size: what it says in netlink is
//! understood, and the other way round.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::binary;

/// Where lab/arm-kernel puts the kernel, its modules and busybox.
const PARTS: &str = "/var/cache/slb-lab/arm";
/// The kernel's first process.
const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dist/arm.sh");
const HEADER: [&str; 3] = [
    "IP Virtual Server version 1.2.1 (size=4096)",
    "Prot LocalAddress:Port Scheduler Flags",
    "-> RemoteAddress:Port Forward Weight ActiveConn InActConn",
];

#[test]
fn a_32_bit_kernel_is_programmed() {
    let console = boot();
    let said = |of: &str| -> Vec<String> {
        let start = format!("arm: {of} ");
        let lines = console.lines().filter_map(|line| Some(line.trim_end().strip_prefix(&start)?.trim().to_owned()));
        lines.filter(|line| !HEADER.contains(&line.as_str())).collect()
    };
    assert!(console.contains("arm: end"), "{console}");
    assert_eq!(said("machine"), ["armv7l", &format!("slb {}", env!("CARGO_PKG_VERSION")), "data plane here: ipvs"]);
    let service = "TCP 0A010055:0050 rr";
    let programmed = said("programmed");
    assert_eq!((programmed[0].as_str(), programmed.len()), (service, 3), "{console}");
    for port in ["1F41", "1F42"] {
        assert!(programmed.contains(&format!("-> 0A010001:{port} Masq 3 0 0")), "{programmed:?}");
    }
    assert_eq!(said("served"), ["2 one", "2 two"]);
    let statistics: serde_json::Value = serde_json::from_str(&said("statistics")[0]).unwrap();
    assert_eq!(statistics["connections"], 4, "{statistics}");
    assert_eq!(said("alone"), ["2 one", "2 two"]);
    assert_eq!((said("again")[0].as_str(), said("again").len()), (service, 3));
    assert!(said("deleted")[0].contains("204"), "{console}");
    assert!(said("empty").is_empty(), "{console}");
    assert_eq!(said("left"), ["UDP 0A010056:0051 mh"], "an address that nobody had comes first");
    assert!(said("clean").is_empty(), "{console}");
    assert_eq!(said("address").len(), 1, "{console}");
}

/// All that the kernel's console said; while it runs that is to be read in a file.
fn boot() -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("arm");
    let _ = fs::remove_dir_all(&folder);
    let root = folder.join("root");
    fs::create_dir_all(&root).unwrap();
    let script = format!(
        "cp -r {PARTS}/system/lib . && mkdir bin && cp {PARTS}/busybox bin/ && cp {} bin/slb && cp {INIT} init && chmod 755 init && \
         find . | cpio --quiet -o -H newc -R 0:0 | gzip -1 >../initrd",
        binary("armv7").display()
    );
    assert!(Command::new("sh").args(["-ec", &script]).current_dir(&root).status().unwrap().success());
    assert!(Path::new(PARTS).join("vmlinuz").exists(), "run lab/arm-kernel");
    let mut qemu = Command::new("timeout");
    qemu.args(["900", "qemu-system-arm", "-M", "virt", "-cpu", "cortex-a15", "-m", "512M", "-nographic", "-no-reboot"]);
    let console = folder.join("console");
    qemu.args(["-nodefaults", "-serial"]).arg(format!("file:{}", console.display()));
    qemu.args(["-append", "console=ttyAMA0 quiet panic=-1", "-kernel"]).arg(format!("{PARTS}/vmlinuz"));
    let status = qemu.arg("-initrd").arg(folder.join("initrd")).stdin(Stdio::null()).status().unwrap();
    format!("{}{status}", String::from_utf8_lossy(&fs::read(console).unwrap_or_default()))
}
