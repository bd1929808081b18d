// SPDX-License-Identifier: Apache-2.0
//! What is said behind the question mark of a path.

use std::time::Duration;

use axum::http::Uri;

use crate::problem::{Kind, Problem};

/// As long as a drain may take.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The time of that name, which is all that may be said. A name without a value is a time without an end: `Some(None)`.
///
/// # Errors
/// Something else is said, or it is no time.
pub(crate) fn time(uri: &Uri, name: &str) -> Result<Option<Option<Duration>>, Problem> {
    let mut found = None;
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (given, value) = pair.split_once('=').map_or((pair, None), |(given, value)| (given, Some(value)));
        let wrong = |why: String| Problem::new(Kind::BadQuery, format!("?{pair}: {why}"));
        if given != name {
            return Err(wrong(format!("all that can be said here is {name}")));
        }
        let time = match value {
            None | Some("") => None,
            Some(value) => match humantime::parse_duration(value) {
                Ok(time) if time <= LONGEST => Some(time),
                Ok(_) => return Err(wrong("that is longer than 30 days".to_owned())),
                Err(error) => return Err(wrong(format!("{error}; write it like 30s or 2m"))),
            },
        };
        if found.replace(time).is_some() {
            return Err(wrong(format!("{name} is given more than once")));
        }
    }
    Ok(found)
}

/// # Errors
/// Something is said where nothing can be.
pub(crate) fn nothing(uri: &Uri) -> Result<(), Problem> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(query) => Err(Problem::new(Kind::BadQuery, format!("?{query}: nothing can be said here"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_and_nothing_else() {
        let read =
            |query: &str| time(&format!("/x{query}").parse().unwrap(), "drain").map_err(|problem| problem.kind());
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("?"), Ok(None));
        assert_eq!(read("?drain"), Ok(Some(None)));
        assert_eq!(read("?drain=90s"), Ok(Some(Some(Duration::from_secs(90)))));
        for query in ["?drain=90", "?drain=x", "?drain=31days", "?drains=90s", "?drain=1s&drain=2s", "?drain=1s&x"] {
            assert_eq!(read(query), Err(Kind::BadQuery), "{query}");
        }
    }
}
