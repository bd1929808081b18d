// SPDX-License-Identifier: Apache-2.0
//! What is said behind the question mark of a path.

use std::time::Duration;

use axum::http::Uri;

use crate::problem::{Kind, Problem};

/// Asks for the plan instead of the change.
const DRY_RUN: &str = "dryRun";
/// As long as a drain may take.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What is said of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The time of the name that was asked for. A name without a value is a time without an end: `Some(None)`.
    pub(crate) time: Option<Option<Duration>>,
    /// Whether nothing is to be done.
    pub(crate) rehearse: bool,
}

/// The time of that name, if there can be one, and `dryRun`.
///
/// # Errors
/// Something else is said, or it is no time, or neither true nor false.
pub(crate) fn said(uri: &Uri, name: Option<&str>) -> Result<Said, Problem> {
    let (mut time, mut rehearse) = (None, None);
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |why: String| Problem::new(Kind::BadQuery, format!("?{pair}: {why}"));
        let is_again = match given {
            DRY_RUN => rehearse.replace(flag(value).map_err(wrong)?).is_some(),
            _ if Some(given) == name => time.replace(duration(value).map_err(wrong)?).is_some(),
            _ => {
                let names: Vec<&str> = name.into_iter().chain([DRY_RUN]).collect();
                return Err(wrong(format!("all that can be said here is {}", names.join(" and "))));
            }
        };
        if is_again {
            return Err(wrong(format!("{given} is given more than once")));
        }
    }
    Ok(Said { time, rehearse: rehearse.unwrap_or_default() })
}

fn flag(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn duration(value: &str) -> Result<Option<Duration>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    match humantime::parse_duration(value) {
        Ok(time) if time <= LONGEST => Ok(Some(time)),
        Ok(_) => Err("that is longer than 30 days".to_owned()),
        Err(error) => Err(format!("{error}; write it like 30s or 2m")),
    }
}

/// `dryRun` alone: whether nothing is to be done.
///
/// # Errors
/// Something else is said, or it is neither true nor false.
pub(crate) fn rehearses(uri: &Uri) -> Result<bool, Problem> {
    said(uri, None).map(|said| said.rehearse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_and_whether_it_is_meant_and_nothing_else() {
        let uri = |query: &str| format!("/x{query}").parse::<Uri>().unwrap();
        let read = |query: &str| said(&uri(query), Some("drain")).map_err(|problem| problem.kind());
        let is = |time, rehearse| Ok(Said { time, rehearse });
        assert_eq!(read(""), is(None, false));
        assert_eq!(read("?"), is(None, false));
        assert_eq!(read("?drain"), is(Some(None), false));
        assert_eq!(read("?drain=90s"), is(Some(Some(Duration::from_secs(90))), false));
        assert_eq!(read("?dryRun=true&drain="), is(Some(None), true));
        assert_eq!(read("?dryRun=false"), is(None, false));
        for query in [
            "?drain=90",
            "?drain=x",
            "?drain=31days",
            "?drains=90s",
            "?drain=1s&drain=2s",
            "?drain=1s&x",
            "?dryRun=1",
            "?dryrun=true",
            "?dryRun=true&dryRun=true",
            "?dryRun",
        ] {
            assert_eq!(read(query), Err(Kind::BadQuery), "{query}");
        }
        assert_eq!(said(&uri("?drain"), None).map_err(|problem| problem.kind()), Err(Kind::BadQuery));
    }
}
