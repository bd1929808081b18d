// SPDX-License-Identifier: Apache-2.0
//! The part of `docs/benchmarks.md` that a benchmark writes.

use std::{
    fs,
    path::{Path, PathBuf},
};

const DOCS: &str = "docs";
const PAGE: &str = "benchmarks.md";

/// What stands in the page between the lines of the benchmark of a name.
#[derive(Debug)]
pub struct Page {
    name: String,
    pictures: String,
}

impl Page {
    /// Of that name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), pictures: String::new() }
    }

    /// Puts a picture beside the page, and shows it before the text.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn picture(&mut self, file: &str, title: &str, svg: &str) {
        fs::write(folder(DOCS).join(file), svg).expect("a picture is written");
        self.pictures += &format!("![{title}]({file})\n\n");
    }

    /// Writes it.
    ///
    /// # Panics
    /// The page has no place for it, or cannot be written.
    pub fn write(self, text: &str) {
        let Self { name, pictures } = self;
        let page = folder(DOCS).join(PAGE);
        let before = fs::read_to_string(&page).expect("the page of benchmarks");
        let (begin, end) = (format!("<!-- {name}: written by `make bench` -->\n"), format!("<!-- {name}: end -->\n"));
        let (head, rest) = before.split_once(&begin).expect("a line where it begins");
        let (_, tail) = rest.split_once(&end).expect("a line where it ends");
        fs::write(&page, format!("{head}{begin}\n{pictures}{text}\n{end}{tail}")).expect("the page is written");
    }
}

/// A folder of the repository.
pub(super) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(name)
}
