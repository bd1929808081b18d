// SPDX-License-Identifier: Apache-2.0
//! The configuration file: options, which count when slb starts, and load-balancers of its own, which count whenever it is edited.
//!
//! This page gets hold of its text, which [`Document`] reads; [`watch`] sees edits, and [`follow`] has them carried out.

pub mod follow;
mod watch;

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use slb_api::declaration::{Declared, Document, Mistake};

use crate::args::Given;

/// A file may be as large: more than ten thousand load-balancers need.
const MOST_BYTES: usize = 16 << 20;

/// A file, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    path: PathBuf,
    text: String,
    /// Whether it can be read again: a pipe has nothing more to say.
    is_regular: bool,
}

/// What is wrong with a file. At least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    path: PathBuf,
    mistakes: Vec<Mistake>,
}

/// Of all options the one that a clean-up needs.
#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "stateDir")]
    state_dir: Option<PathBuf>,
}

/// `FILE:LINE: what`, and then the rest.
impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)?;
        if let Some(line) = self.line() {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.why())
    }
}

impl std::error::Error for BadFile {}

impl BadFile {
    fn new(path: &Path, why: &str) -> Self {
        Self { path: path.to_owned(), mistakes: vec![Mistake::new(None, why)] }
    }

    /// Where the first mistake is.
    pub fn line(&self) -> Option<usize> {
        self.mistakes.first().and_then(|mistake| mistake.line)
    }

    /// What is wrong; where, from the second mistake on.
    pub fn why(&self) -> String {
        let said = self.mistakes.iter().enumerate().map(|(index, Mistake { line, why })| match line {
            Some(line) if index > 0 => format!("line {line}: {why}"),
            _ => why.clone(),
        });
        said.collect::<Vec<_>>().join("; ")
    }
}

impl File {
    /// Reads it, whatever kind of file it is; of a pipe, waits for the end.
    ///
    /// # Errors
    /// It cannot be read, is not text, or too large.
    pub fn read(path: &Path) -> Result<Self, BadFile> {
        Self::read_from(path, fs::File::open(path)).map_err(|why| BadFile::new(path, &why))
    }

    /// Reads it once more, and waits for nobody.
    ///
    /// # Errors
    /// As with [`Self::read`]; or it is no regular file.
    pub fn read_again(path: &Path) -> Result<Self, BadFile> {
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.map(fs::File::from).map_err(io::Error::from).and_then(|file| {
            let is_regular = file.metadata()?.is_file();
            is_regular.then_some(file).ok_or_else(|| io::Error::other("it is not a regular file any more"))
        });
        Self::read_from(path, opened).map_err(|why| BadFile::new(path, &why))
    }

    fn read_from(path: &Path, opened: io::Result<fs::File>) -> Result<Self, String> {
        let file = opened.map_err(|error| error.to_string())?;
        let is_regular = file.metadata().map_err(|error| error.to_string())?.is_file();
        let mut bytes = Vec::new();
        file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() > MOST_BYTES {
            return Err(format!("it has more than {} MiB", MOST_BYTES >> 20));
        }
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        Ok(Self { path: path.to_owned(), text, is_regular })
    }

    /// The options in it.
    ///
    /// # Errors
    /// It is not TOML, or there is no such option.
    pub fn options(&self) -> Result<Given, BadFile> {
        let options = Document::parse(&self.text).and_then(|document| document.options());
        options.map_err(|mistake| self.with(vec![mistake]))
    }

    /// Where load-balancers are kept, if it says so, whatever else it says.
    ///
    /// # Errors
    /// It is not TOML, or this is no path.
    pub fn state_dir(&self) -> Result<Option<PathBuf>, BadFile> {
        let kept = Document::parse(&self.text).and_then(|document| document.options::<Kept>());
        kept.map(|kept| kept.state_dir).map_err(|mistake| self.with(vec![mistake]))
    }

    /// The load-balancers in it; their health checks may run commands on this host where that is allowed.
    ///
    /// # Errors
    /// It is not TOML, or has load-balancers that cannot be.
    pub fn load_balancers(&self, commands: bool) -> Result<Vec<Declared>, BadFile> {
        let document = Document::parse(&self.text).map_err(|mistake| self.with(vec![mistake]))?;
        document.load_balancers(commands).map_err(|mistakes| self.with(mistakes))
    }

    /// What is wrong with one of its load-balancers, by its place.
    pub fn blame(&self, at: Option<&str>, why: &str) -> BadFile {
        let mistake = match (at, Document::parse(&self.text)) {
            (Some(at), Ok(document)) => document.blame(at, why),
            _ => Mistake::new(None, why),
        };
        self.with(vec![mistake])
    }

    fn with(&self, mistakes: Vec<Mistake>) -> BadFile {
        BadFile { path: self.path.clone(), mistakes }
    }
}

#[cfg(test)]
mod tests;
