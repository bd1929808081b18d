// SPDX-License-Identifier: Apache-2.0
//! The text of a configuration file, in TOML: what of it are options and what load-balancers, and on which line a mistake is.

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, Deserializer},
};

use super::{
    Declared, Fault,
    lines::{line, line_at},
};
use crate::{fields::near, json::Node};

/// What is no option, nor what is almost called so.
const LOAD_BALANCERS: [&str; 2] = ["loadbalancer", "frontend"];

/// A file that is TOML.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    text: &'a str,
    options: Spanned<DeTable<'a>>,
    load_balancers: Spanned<DeTable<'a>>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, counted from 1; `None` if it is nowhere in it.
    pub line: Option<usize>,
    /// What, in one line of words for who wrote it.
    pub why: String,
}

impl Mistake {
    /// One, on a line or nowhere; of words in several lines one is made.
    #[must_use]
    pub fn new(line: Option<usize>, why: &str) -> Self {
        Self { line, why: why.trim_end().replace('\n', "; ") }
    }

    fn refused(text: &str, error: &toml::de::Error) -> Self {
        Self::new(error.span().map(|span| line(text, span.start)), error.message())
    }
}

impl<'a> Document<'a> {
    /// Takes it apart.
    ///
    /// # Errors
    /// It is not TOML.
    pub fn parse(text: &'a str) -> Result<Self, Mistake> {
        let whole = DeTable::parse(text).map_err(|error| Mistake::refused(text, &error))?;
        let span = whole.span();
        let is_option = |key: &str| near(key, &LOAD_BALANCERS).is_none();
        let (options, load_balancers): (Vec<_>, Vec<_>) =
            whole.into_inner().into_iter().partition(|(key, _)| is_option(key.get_ref()));
        let table = |of: Vec<_>| Spanned::new(span.clone(), of.into_iter().collect());
        Ok(Self { text, options: table(options), load_balancers: table(load_balancers) })
    }

    /// The options in it.
    ///
    /// # Errors
    /// There is no such option, or it has no such value.
    pub fn options<T: Deserialize<'a>>(&self) -> Result<T, Mistake> {
        T::deserialize(Deserializer::from(self.options.clone())).map_err(|error| Mistake::refused(self.text, &error))
    }

    /// The load-balancers in it; their health checks may run commands on this host where that is allowed.
    ///
    /// # Errors
    /// Everything that is wrong with them, up to twenty things. The first has a line.
    pub fn load_balancers(&self, commands: bool) -> Result<Vec<Declared>, Vec<Mistake>> {
        let node = Node::deserialize(Deserializer::from(self.load_balancers.clone()))
            .map_err(|error| vec![Mistake::refused(self.text, &error)])?;
        super::load_balancers(node, commands)
            .map_err(|faults| faults.iter().map(|Fault { at, why }| self.blame(at, why)).collect())
    }

    /// What is wrong with what is there, by keys and places in lists: `loadbalancer/0/backend/1/ip`. What is missing is missing there; nothing
    /// is all of it.
    #[must_use]
    pub fn blame(&self, at: &str, why: &str) -> Mistake {
        let said = if at.is_empty() { why.to_owned() } else { format!("{at}: {why}") };
        Mistake::new(line_at(self.text, &self.load_balancers, at), &said)
    }
}

#[cfg(test)]
mod tests;
