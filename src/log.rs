// SPDX-License-Identifier: Apache-2.0
//! Logging to standard error. The text format is the original's: `INFO[0000] message    key=value`, with the seconds
//! since the start in brackets.

use std::{fmt, time::Instant};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

use crate::config::Logging;

/// The column that `key=value` pairs start at.
const FIELDS_COLUMN: usize = 44;

/// Starts logging. Called once, before anything is logged.
pub fn start(logging: Logging) {
    let builder =
        tracing_subscriber::fmt().with_max_level(LevelFilter::from_level(logging.level)).with_writer(std::io::stderr);
    if logging.json {
        builder.json().flatten_event(true).with_target(false).init();
    } else {
        builder.with_ansi(false).event_format(Text { start: Instant::now() }).init();
    }
}

struct Text {
    start: Instant,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                line.fields.push(' ');
                line.fields.push_str(fields);
            }
        }
        let level = name(*event.metadata().level());
        let message = line.message;
        write!(to, "{level}[{:04}] ", self.start.elapsed().as_secs())?;
        if line.fields.is_empty() {
            writeln!(to, "{message}")
        } else {
            writeln!(to, "{message:<FIELDS_COLUMN$}{}", line.fields)
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERRO",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBU",
        Level::TRACE => "TRAC",
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = one_line(value);
            return;
        }
        self.fields.push_str(&format!(" {}={}", field.name(), quoted(value)));
    }
}

/// In quotes if need be. What does not print as itself is escaped, such as marks that reverse the rest of the line.
fn quoted(value: &str) -> String {
    let quoted = format!("{value:?}");
    let is_plain = !value.is_empty() && !value.contains([' ', '=']) && quoted.len() == value.len() + 2;
    if is_plain { value.to_owned() } else { quoted }
}

/// What does not print as itself is escaped: there may be words of a provider's or a daemon's in a message, and an event is a line.
fn one_line(message: &str) -> String {
    let escaped = |char: char| (char.escape_debug().len() > 1 && !"\"'\\".contains(char)).then(|| char.escape_debug());
    message.chars().fold(String::with_capacity(message.len()), |mut line, char| {
        match escaped(char) {
            Some(escaped) => line.extend(escaped),
            None => line.push(char),
        }
        line
    })
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_look_like_something_else() {
        for (name, shown) in [
            ("web-1", "web-1"),
            ("größe", "größe"),
            ("", "\"\""),
            ("a lb=b", "\"a lb=b\""),
            ("a\"b", "\"a\\\"b\""),
            ("a\\b", "\"a\\\\b\""),
            ("\u{202e}evil", "\"\\u{202e}evil\""),
            ("two\u{2028}lines", "\"two\\u{2028}lines\""),
        ] {
            assert_eq!(quoted(name), shown);
        }
    }

    #[test]
    fn no_message_can_look_like_two() {
        for (message, shown) in [
            ("größer: \"it's\" a\\b", "größer: \"it's\" a\\b"),
            ("away\nINFO[0000] well", "away\\nINFO[0000] well"),
            ("\u{1b}[2J\u{202e}evil", "\\u{1b}[2J\\u{202e}evil"),
        ] {
            assert_eq!(one_line(message), shown);
        }
    }
}
