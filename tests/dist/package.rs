// SPDX-License-Identifier: Apache-2.0
//! The Debian packages: what they are like, and the life of one on a host with systemd, a stock kernel under emulation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{DIST, said};

/// Where lab/stock-kernel and lab/debian-host put what they make.
const LAB: &str = "/var/cache/slb-lab";
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dist");
/// What the newer package has behind its version.
const REBUILT: &str = "+rebuilt";

pub fn all() -> Vec<PathBuf> {
    let all = fs::read_dir(DIST).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect()
}

#[test]
fn lintian_has_no_errors() {
    let packages = all();
    assert_eq!(packages.len(), 3, "{packages:?}");
    let words: Vec<&str> = packages.iter().map(|path| path.to_str().unwrap()).collect();
    said("lintian", &[&["--allow-root", "--fail-on", "error"], &words[..]].concat());
}

#[test]
fn a_package_is_installed_upgraded_and_purged() {
    let said_of = boot();
    let said = |of: &str| -> Vec<String> {
        let start = format!("host: {of} ");
        let lines = said_of.lines().filter_map(|line| Some(line.trim_end().strip_prefix(&start)?.trim().to_owned()));
        lines.collect()
    };
    assert!(said_of.contains("host: done"), "{said_of}");
    assert_eq!(said("enabled"), ["disabled"], "nobody has said what it is to do");
    let service = said("service");
    for line in ["ActiveState=active", "User=slb", "WatchdogUSec=3min"] {
        assert!(service.iter().any(|said| said == line), "{service:?}");
    }
    let rating = said("rating")[0].split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
    assert!(rating <= 2.0, "{rating}");
    assert_eq!(said("version"), [&format!("slb {}", env!("CARGO_PKG_VERSION")), "data plane here: ipvs"]);
    assert_eq!(said("served"), ["2 one", "2 two"]);
    let rebuilt = format!("{}-1{REBUILT}", env!("CARGO_PKG_VERSION"));
    assert_eq!(said("runs"), ["/usr/bin/slb", &rebuilt], "the new one, and not the file that was replaced");
    for clients in [said("upgraded"), said("restarted"), said("operator")] {
        assert!(clients.len() == 1 && clients[0].ends_with(" good"), "{clients:?}\n{said_of}");
    }
    assert_eq!(said("stopped"), ["Result=success", "1 one", "1 two"], "and traffic goes on");
    assert_eq!(said("readonly"), ["201"]);
    assert_eq!(said("fileless"), ["install ok installed"]);
    assert_eq!(said("again"), ["2 one"]);
    assert_eq!(said("mistaken"), ["install ok installed", "644"], "whose file it is and who reads it stays");
    assert!(said("killed").is_empty(), "{said_of}");
    assert!(said("left").is_empty(), "{said_of}");
}

/// What apt upgrades from.
fn repository(of: &Path, folder: &Path) {
    let script = format!("{HERE}/repository.sh");
    assert!(Command::new(script).arg(of).arg(REBUILT).current_dir(folder).status().unwrap().success());
}

/// All that the host's console said; while it runs that is to be read in a file.
fn boot() -> String {
    assert!(Path::new(LAB).join("host/system").exists(), "run lab/debian-host");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("host");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("packages")).unwrap();
    let package = all().into_iter().find(|path| path.to_string_lossy().ends_with("_amd64.deb")).unwrap();
    repository(&package, &folder.join("packages"));
    for script in ["boot.sh", "host.sh"] {
        fs::copy(Path::new(HERE).join(script), folder.join(script)).unwrap();
    }
    let init = folder.join("boot.sh");
    let mut qemu = Command::new("timeout");
    qemu.args(["1500", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1536M", "-cpu", "max"]);
    let console = folder.join("console");
    qemu.args(["-nographic", "-no-reboot", "-nodefaults", "-serial"]).arg(format!("file:{}", console.display()));
    qemu.args(["-fsdev", "local,id=host,path=/,security_model=none,multidevs=remap,readonly=on"]);
    qemu.args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host", "-kernel"]).arg(format!("{LAB}/stock/vmlinuz"));
    qemu.arg("-initrd").arg(format!("{LAB}/stock/initrd")).arg("-append");
    let (init, folder) = (init.display(), folder.display());
    qemu.arg(format!("console=ttyS0 quiet panic=-1 systemd.show_status=0 slb_init={init} slb_folder={folder}"));
    let status = qemu.stdin(Stdio::null()).status().unwrap();
    format!("{}{status}", String::from_utf8_lossy(&fs::read(console).unwrap_or_default()))
}
