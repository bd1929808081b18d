// SPDX-License-Identifier: Apache-2.0
//! Which settings of the kernel were written on a host, by whomever, also if their value stayed the same: inotify(7).

use std::{
    collections::BTreeMap,
    fs, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::inotify;

use crate::Node;

/// The settings that are watched, with all below.
const FOLDER: &str = "/proc/sys/net/ipv4";

/// Watches the settings under `net.ipv4` that are there when it starts, until it is dropped.
#[derive(Debug)]
pub struct SettingWrites {
    events: OwnedFd,
    paths: BTreeMap<i32, PathBuf>,
}

impl SettingWrites {
    /// Watches a host.
    ///
    /// # Panics
    /// The kernel refuses.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let mut watching = Self { events: inotify::init(flags).expect("inotify"), paths: BTreeMap::new() };
        node.inside(|| watching.watch(Path::new(FOLDER)).expect(FOLDER));
        watching
    }

    fn watch(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.watch(&entry.path())?;
            } else {
                match inotify::add_watch(&self.events, entry.path(), inotify::WatchFlags::MODIFY) {
                    Ok(number) => drop(self.paths.insert(number, entry.path())),
                    // A button, like `route/flush`: it has no value to read.
                    Err(rustix::io::Errno::ACCESS) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// The files written since the last time, in their order.
    ///
    /// # Panics
    /// The kernel does not say.
    pub fn take(&mut self) -> Vec<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        let mut written = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => written.extend(self.paths.get(&event.wd()).map(|path| path.display().to_string())),
                Err(rustix::io::Errno::AGAIN) => return written,
                Err(error) => panic!("inotify: {error}"),
            }
        }
    }
}
