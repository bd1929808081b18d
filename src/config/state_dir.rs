// SPDX-License-Identifier: Apache-2.0
//! Where the state is kept: root's in the place for an appliance's state, anybody else's where programs of users keep theirs, unless it is
//! in that place already.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use slb_store::Redb;
use tracing::warn;

use super::BadOption;
use crate::{args::Given, file::File};

/// The place for an appliance's state (hier(7)).
const OF_ROOT: &str = "/var/lib/slb";
/// Below the home directory, where `XDG_STATE_HOME` is not set (XDG Base Directory Specification 0.8).
const BELOW_HOME: &str = ".local/state";
/// What our directory is called among those of other programs.
const NAME: &str = "slb";

/// Where load-balancers are kept.
///
/// # Errors
/// Nothing says where a user's state is to be.
pub fn state_dir(given: &Given) -> Result<PathBuf, BadOption> {
    let is_root = rustix::process::geteuid().is_root();
    choose(given.state_dir.clone(), is_root || Redb::is_ours_in(Path::new(OF_ROOT)), |name| std::env::var_os(name))
}

/// Where the server that this file is for keeps them, for who undoes its work. A mistake must not be in the way of that: only the
/// state directory is taken from the file, and what is wrong with it is a warning.
///
/// # Errors
/// There is no such file; or as with [`state_dir`].
pub fn state_dir_of(mut given: Given, file: Option<&Path>) -> Result<PathBuf, BadOption> {
    let (None, Some(path)) = (&given.state_dir, file) else { return state_dir(&given) };
    let read = match File::read(path) {
        Err(bad) if !path.exists() => return Err(BadOption(format!("--config {bad}"))),
        read => read,
    };
    let said = read.and_then(|file| {
        let said = file.state_dir()?;
        if let Err(bad) = file.options() {
            warn!("{bad}");
        }
        Ok(said)
    });
    match said {
        Ok(said) => {
            given.state_dir = said;
            state_dir(&given)
        }
        Err(bad) => {
            let taken = state_dir(&given)?;
            warn!(
                "{bad}; the state is looked for in {}: where it is elsewhere, say so with --stateDir",
                taken.display()
            );
            Ok(taken)
        }
    }
}

/// `keeps_it_there` says whether this process keeps its state where root does: as root, or because somebody who is not, and has the
/// capabilities instead, has done so before. `variable` is the environment. A service of systemd that does not run as root is told its
/// directories in `STATE_DIRECTORY`, with colons between them (systemd.exec(5)); the first is ours.
fn choose(
    given: Option<PathBuf>,
    keeps_it_there: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, BadOption> {
    if let Some(given) = given {
        return Ok(given);
    }
    if keeps_it_there {
        return Ok(PathBuf::from(OF_ROOT));
    }
    // A relative path in one of them is to be ignored, says the specification.
    let is_absolute = |path: &PathBuf| path.is_absolute();
    let absolute = |name| variable(name).map(PathBuf::from).filter(is_absolute);
    variable("STATE_DIRECTORY")
        .map(|list| first(&list))
        .filter(is_absolute)
        .or_else(|| absolute("XDG_STATE_HOME").map(|home| home.join(NAME)))
        .or_else(|| absolute("HOME").map(|home| home.join(BELOW_HOME).join(NAME)))
        .ok_or_else(|| {
            let why = "--stateDir is missing: without root the state is kept below XDG_STATE_HOME or HOME, and neither is set";
            BadOption(why.to_owned())
        })
}

/// Of a list with colons between.
fn first(list: &OsStr) -> PathBuf {
    let end = list.as_bytes().iter().position(|byte| *byte == b':').unwrap_or(list.len());
    PathBuf::from(OsStr::from_bytes(list.as_bytes().get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_state_is_the_users() {
        let of = |given: Option<&str>, keeps_it_there, environment: &[(&str, &str)]| {
            let variable =
                |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, to)| (*to).into());
            choose(given.map(PathBuf::from), keeps_it_there, variable).map_err(|BadOption(why)| why)
        };
        let (home, xdg) = (("HOME", "/home/ann"), ("XDG_STATE_HOME", "/data/state"));
        for (given, keeps_it_there, environment, expected) in [
            (Some("here"), false, &[home, xdg][..], "here"),
            (Some("here"), true, &[], "here"),
            (None, true, &[home, xdg], "/var/lib/slb"),
            (None, false, &[home, xdg], "/data/state/slb"),
            (None, false, &[home], "/home/ann/.local/state/slb"),
            (None, false, &[home, ("XDG_STATE_HOME", "")], "/home/ann/.local/state/slb"),
            (None, false, &[home, ("XDG_STATE_HOME", "state")], "/home/ann/.local/state/slb"),
            (None, false, &[home, ("STATE_DIRECTORY", "/var/lib/private/slb")], "/var/lib/private/slb"),
            (None, false, &[home, ("STATE_DIRECTORY", "/var/lib/slb:/var/lib/more")], "/var/lib/slb"),
            (None, true, &[home, ("STATE_DIRECTORY", "/var/lib/private/slb")], "/var/lib/slb"),
        ] {
            assert_eq!(of(given, keeps_it_there, environment), Ok(expected.into()), "{given:?} {environment:?}");
        }
        assert!(of(None, false, &[]).unwrap_err().starts_with("--stateDir is missing: without root"));
    }
}
