// SPDX-License-Identifier: Apache-2.0
//! Where in the text of a file something is.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::fields;

/// The line of that byte, counted from 1.
pub fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The line of what is there, by keys and places in lists with slashes between them; of what it is missing in, if it is not there. `None`
/// if even that is not known.
pub fn line_at(text: &str, root: &Spanned<DeTable<'_>>, at: &str) -> Option<usize> {
    let mut found = None;
    let mut here = Place::Table(root.get_ref());
    for step in at.split('/') {
        let Some((place, start)) = here.step(step) else { break };
        found = Some(start);
        here = place;
    }
    found.map(|start| line(text, start))
}

enum Place<'a> {
    Table(&'a DeTable<'a>),
    List(&'a [Spanned<DeValue<'a>>]),
    Value,
}

impl<'a> Place<'a> {
    /// What is there, and where it begins.
    fn step(&self, step: &str) -> Option<(Self, usize)> {
        match self {
            Self::Table(table) => {
                let (key, value) = table.iter().find(|(key, _)| fields::step(key.get_ref()) == step)?;
                Some((Self::of(value), key.span().start))
            }
            Self::List(list) => {
                let value = list.get(step.parse::<usize>().ok()?)?;
                Some((Self::of(value), value.span().start))
            }
            Self::Value => None,
        }
    }

    fn of(value: &'a Spanned<DeValue<'a>>) -> Self {
        match value.get_ref() {
            DeValue::Table(table) => Self::Table(table),
            DeValue::Array(list) => Self::List(list),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => Self::Value,
        }
    }
}
