// SPDX-License-Identifier: Apache-2.0
//! The ways in which files are edited.

use std::{
    fs,
    os::unix::fs::symlink,
    pin::pin,
    sync::atomic::{AtomicU32, Ordering},
};

use futures_util::FutureExt;

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("slb-watch-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether the edit is seen. Events are there once the call that makes them is over.
async fn sees(watch: &Watch, edit: impl FnOnce()) -> bool {
    assert!(!watch.read().unwrap(), "nothing has happened yet");
    edit();
    // The reactor has to be asked once.
    let mut changed = pin!(watch.changed());
    for _ in 0..3 {
        if let Some(seen) = (&mut changed).now_or_never() {
            seen.unwrap();
            return true;
        }
        tokio::task::yield_now().await;
    }
    watch.read().unwrap()
}

#[tokio::test]
async fn each_way_to_edit_a_file_is_seen() {
    let folder = Folder::new();
    let (file, other) = (folder.at("slb.toml"), folder.at("other"));
    fs::write(&file, "1").unwrap();
    let watch = Watch::on(&file).unwrap();
    assert!(!sees(&watch, || fs::write(&other, "2").unwrap()).await, "another file");
    assert!(sees(&watch, || fs::write(&file, "2").unwrap()).await, "in place");
    assert!(sees(&watch, || fs::rename(&other, &file).unwrap()).await, "written anew and moved there");
    let half = fs::File::create(&other).unwrap();
    assert!(!sees(&watch, || fs::remove_file(&file).unwrap()).await, "it is gone: nothing to read");
    let mut made = None;
    assert!(!sees(&watch, || made = Some(fs::File::create(&file).unwrap())).await, "not written yet");
    assert!(sees(&watch, || drop(made)).await, "written");
    drop(half);
    fs::remove_file(&file).unwrap();
    assert!(sees(&watch, || symlink("other", &file).unwrap()).await, "a link to another one");
    assert!(sees(&watch, || fs::remove_dir_all(&folder.0).unwrap()).await, "the folder is gone");
}

/// slb.toml -> ..data/slb.toml, ..data -> ..1; an update makes ..2 and moves a new ..data over the old one.
#[tokio::test]
async fn config_maps_are_swapped_on_the_way() {
    let folder = Folder::new();
    for version in ["..1", "..2"] {
        fs::create_dir(folder.at(version)).unwrap();
        fs::write(folder.at(version).join("slb.toml"), version).unwrap();
    }
    symlink("..1", folder.at("..data")).unwrap();
    symlink("..data/slb.toml", folder.at("slb.toml")).unwrap();
    let watch = Watch::on(&folder.at("slb.toml")).unwrap();
    symlink("..2", folder.at("..data_tmp")).unwrap();
    assert!(sees(&watch, || fs::rename(folder.at("..data_tmp"), folder.at("..data")).unwrap()).await);
    let watch = Watch::on(&folder.at("slb.toml")).unwrap();
    assert!(!sees(&watch, || fs::write(folder.at("..1/slb.toml"), "old").unwrap()).await, "no longer on the way");
    assert!(sees(&watch, || fs::write(folder.at("..2/slb.toml"), "new").unwrap()).await);
}

#[tokio::test]
async fn the_way_is_followed_as_the_kernel_does() {
    let folder = Folder::new();
    fs::create_dir_all(folder.at("a/b")).unwrap();
    fs::write(folder.at("a/b/file"), "").unwrap();
    symlink("b/../b", folder.at("a/c")).unwrap();
    symlink(folder.at("a/c/file"), folder.at("link")).unwrap();
    let watch = Watch::on(&folder.at("a/../link")).unwrap();
    let is_ours = |(path, _): &(PathBuf, _)| path.starts_with(&folder.0);
    let places: BTreeMap<PathBuf, BTreeSet<OsString>> = watch.folders.into_values().filter(is_ours).collect();
    let names = |all: &[&str]| all.iter().map(OsString::from).collect();
    let expected = [("", names(&["a", "link"])), ("a", names(&["b", "c"])), ("a/b", names(&["file"]))];
    assert_eq!(places, expected.map(|(of, names)| (folder.0.join(of), names)).into());
    symlink("circle", folder.at("circle")).unwrap();
    Watch::on(&folder.at("circle")).unwrap();
}

/// `mv slb old; mv new slb`, anywhere on the way, also where it ends for a while.
#[tokio::test]
async fn another_folder_on_the_way_is_seen() {
    let folder = Folder::new();
    let file = folder.at("etc/slb/slb.toml");
    let make = |path: &str| {
        fs::create_dir_all(folder.at(path)).unwrap();
        fs::write(folder.at(path).join("slb.toml"), "").unwrap();
    };
    make("etc/slb");
    for (place, other, within) in [("etc/slb", "other", ""), ("etc", "more", "slb")] {
        make(&format!("{other}/{within}"));
        let watch = Watch::on(&file).unwrap();
        assert!(sees(&watch, || fs::rename(folder.at(place), folder.at("old")).unwrap()).await, "{place}: away");
        let watch = Watch::on(&file).unwrap();
        assert!(sees(&watch, || fs::rename(folder.at(other), folder.at(place)).unwrap()).await, "{place}: another");
        assert!(file.exists());
        fs::remove_dir_all(folder.at("old")).unwrap();
    }
    fs::remove_dir_all(folder.at("etc")).unwrap();
    let watch = Watch::on(&file).unwrap();
    assert!(!sees(&watch, || fs::create_dir(folder.at("var")).unwrap()).await, "not on the way");
    assert!(sees(&watch, || fs::create_dir(folder.at("etc")).unwrap()).await);
    let watch = Watch::on(&file).unwrap();
    assert!(sees(&watch, || fs::create_dir(folder.at("etc/slb")).unwrap()).await);
    let watch = Watch::on(&file).unwrap();
    assert!(sees(&watch, || fs::write(&file, "").unwrap()).await);
}
