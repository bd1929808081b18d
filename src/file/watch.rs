// SPDX-License-Identifier: Apache-2.0
//! Sees edits of a file (inotify(7)), whichever way they are made: written in place, written anew and moved there, or a symbolic link on the way
//! to it that leads elsewhere now, as Kubernetes changes config maps.
//!
//! What is watched are the folders, not the file: another one is there after an edit. A file that is only just made is no edit before
//! it is closed: half of it would be read.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::{OsStr, OsString},
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

/// As many symbolic links on the way to a file the kernel follows (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;
/// Holds some events; what does not fit is read next.
const BUFFER_BYTES: usize = 4096;

/// Watches the way to a file, as it is now.
#[derive(Debug)]
pub struct Watch {
    inotify: AsyncFd<OwnedFd>,
    /// Which names are of interest in each folder.
    folders: BTreeMap<i32, (PathBuf, BTreeSet<OsString>)>,
}

impl Watch {
    /// Watches from now on. Once something has happened the way may be another: watch anew, and read the file after that.
    ///
    /// # Errors
    /// A folder is not there, or the kernel has no room for more (`fs.inotify.max_user_instances`, `max_user_watches`).
    pub fn on(path: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut folders: BTreeMap<i32, (PathBuf, BTreeSet<OsString>)> = BTreeMap::new();
        for (folder, name) in way(path)? {
            let events = WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::CREATE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            let watch = inotify::add_watch(&inotify, &folder, events)?;
            folders.entry(watch).or_insert_with(|| (folder, BTreeSet::new())).1.insert(name);
        }
        #[expect(deprecated, reason = "what its successor has callers promise, an `OwnedFd` keeps by itself")]
        let inotify = AsyncFd::with_interest(inotify, Interest::READABLE)?;
        Ok(Self { inotify, folders })
    }

    /// Waits until the file may be another. Dropping the future loses nothing but what is told by reading the file.
    ///
    /// # Errors
    /// The kernel does not say.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            if self.read()? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    /// Whether one of the events that there are is of interest.
    fn read(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut found = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    found |= self.is_of_interest(event.wd(), event.events(), name);
                }
                Err(Errno::AGAIN) => return Ok(found),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_of_interest(&self, watch: i32, events: ReadFlags, name: Option<&OsStr>) -> bool {
        let Some(name) = name else { return true };
        let Some((folder, names)) = self.folders.get(&watch) else { return false };
        if !names.contains(name) {
            return false;
        }
        let is_link = || folder.join(name).is_symlink();
        !events.contains(ReadFlags::CREATE) || is_link()
    }
}

/// Every place on the way to the file where another thing may be: each symbolic link, and the file itself, with their folders.
fn way(path: &Path) -> io::Result<Vec<(PathBuf, OsString)>> {
    let mut places = Vec::new();
    let mut here = std::env::current_dir()?;
    let mut left: VecDeque<PathBuf> = steps(path).collect();
    let mut links = 0;
    while let Some(step) = left.pop_front() {
        let there = here.join(&step);
        match step.components().next() {
            Some(Component::Normal(name)) if there.is_symlink() && links < MOST_LINKS => {
                links += 1;
                places.push((here.clone(), name.to_owned()));
                let target = std::fs::read_link(&there)?;
                for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(step);
                }
            }
            Some(Component::Normal(name)) if left.is_empty() => places.push((here.clone(), name.to_owned())),
            Some(Component::ParentDir) => drop(here.pop()),
            Some(Component::Normal(_) | Component::RootDir | Component::Prefix(_)) => here = there,
            Some(Component::CurDir) | None => {}
        }
    }
    Ok(places)
}

fn steps(path: &Path) -> impl Iterator<Item = PathBuf> {
    path.components().map(|component| PathBuf::from(component.as_os_str()))
}

#[cfg(test)]
mod tests;
