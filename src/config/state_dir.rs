// SPDX-License-Identifier: Apache-2.0
//! Where the state is kept: root's in the place for an appliance's state, anybody else's where programs of users keep theirs.

use std::{ffi::OsString, path::PathBuf};

use super::BadOption;
use crate::args::Given;

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
    choose(given.state_dir.clone(), rustix::process::geteuid().is_root(), |name| std::env::var_os(name))
}

/// `variable` is the environment. A service of systemd that does not run as root is told its directory in `STATE_DIRECTORY`.
fn choose(
    given: Option<PathBuf>,
    is_root: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, BadOption> {
    if let Some(given) = given {
        return Ok(given);
    }
    if is_root {
        return Ok(PathBuf::from(OF_ROOT));
    }
    // A relative path in one of them is to be ignored, says the specification.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("STATE_DIRECTORY")
        .or_else(|| absolute("XDG_STATE_HOME").map(|home| home.join(NAME)))
        .or_else(|| absolute("HOME").map(|home| home.join(BELOW_HOME).join(NAME)))
        .ok_or_else(|| {
            let why = "--stateDir is missing: without root the state is kept below XDG_STATE_HOME or HOME, and neither is set";
            BadOption(why.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_state_is_the_users() {
        let of = |given: Option<&str>, is_root, environment: &[(&str, &str)]| {
            let variable =
                |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, to)| (*to).into());
            choose(given.map(PathBuf::from), is_root, variable).map_err(|BadOption(why)| why)
        };
        let (home, xdg) = (("HOME", "/home/ann"), ("XDG_STATE_HOME", "/data/state"));
        for (given, is_root, environment, expected) in [
            (Some("here"), false, &[home, xdg][..], "here"),
            (Some("here"), true, &[], "here"),
            (None, true, &[home, xdg], "/var/lib/slb"),
            (None, false, &[home, xdg], "/data/state/slb"),
            (None, false, &[home], "/home/ann/.local/state/slb"),
            (None, false, &[home, ("XDG_STATE_HOME", "")], "/home/ann/.local/state/slb"),
            (None, false, &[home, ("XDG_STATE_HOME", "state")], "/home/ann/.local/state/slb"),
            (None, false, &[home, ("STATE_DIRECTORY", "/var/lib/private/slb")], "/var/lib/private/slb"),
        ] {
            assert_eq!(of(given, is_root, environment), Ok(expected.into()), "{given:?} {is_root} {environment:?}");
        }
        assert!(of(None, false, &[]).unwrap_err().starts_with("--stateDir is missing: without root"));
    }
}
