// SPDX-License-Identifier: Apache-2.0
//! Sees edits of a file (inotify(7)), whichever way they are made: written in place, written anew and moved there, a symbolic link on the way
//! to it that leads elsewhere now, as Kubernetes changes config maps, or a folder on the way that another one takes the place of.
//!
//! What is watched are the folders on the way, not the file: another one is there after an edit. A file that is only just made is no edit
//! before it is closed: half of it would be read.

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
    folders: Folders,
}

impl Watch {
    /// Watches from now on. Once something has happened the way may be another: watch anew, and read the file after that. Where the way
    /// ends early, as a folder is not there, it is watched as far as it leads.
    ///
    /// # Errors
    /// A folder with the file, or with a link to it, cannot be watched: it may not be read, or the kernel has no room for more
    /// (`fs.inotify.max_user_instances`, `max_user_watches`).
    pub fn on(path: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut folders = BTreeMap::new();
        watch_way(&inotify, path, &mut folders)?;
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
        // What is a file of its own is an edit once it is closed.
        let is_link = || folder.join(name).is_symlink();
        !events.contains(ReadFlags::CREATE) || events.contains(ReadFlags::ISDIR) || is_link()
    }
}

/// Which names are of interest in each folder.
type Folders = BTreeMap<i32, (PathBuf, BTreeSet<OsString>)>;

/// Watches every place on the way to the file where another thing may be: each folder, each symbolic link, and the file itself. What is in a place
/// is looked at once the place is watched, so that nothing is missed that changes just then.
fn watch_way(inotify: &OwnedFd, path: &Path, folders: &mut Folders) -> io::Result<()> {
    let mut here = std::env::current_dir()?;
    let mut left: VecDeque<PathBuf> = steps(path).collect();
    let mut links = 0;
    while let Some(step) = left.pop_front() {
        let there = here.join(&step);
        match step.components().next() {
            Some(Component::Normal(name)) => {
                let watched = watch(inotify, &here, name, folders);
                let link = if links < MOST_LINKS { std::fs::read_link(&there).ok() } else { None };
                match watched {
                    Ok(()) => {}
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                    // A folder that others may only pass through is seldom replaced.
                    Err(Errno::ACCESS) if link.is_none() && !left.is_empty() => {}
                    Err(error) => return Err(error.into()),
                }
                let Some(target) = link else {
                    here = there;
                    continue;
                };
                links += 1;
                for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(step);
                }
            }
            Some(Component::ParentDir) => drop(here.pop()),
            Some(Component::RootDir | Component::Prefix(_)) => here = there,
            Some(Component::CurDir) | None => {}
        }
    }
    Ok(())
}

fn watch(inotify: &OwnedFd, folder: &Path, name: &OsStr, folders: &mut Folders) -> Result<(), Errno> {
    let events = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::CREATE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    let watch = inotify::add_watch(inotify, folder, events)?;
    folders.entry(watch).or_insert_with(|| (folder.to_owned(), BTreeSet::new())).1.insert(name.to_owned());
    Ok(())
}

fn steps(path: &Path) -> impl Iterator<Item = PathBuf> {
    path.components().map(|component| PathBuf::from(component.as_os_str()))
}

#[cfg(test)]
mod tests;
