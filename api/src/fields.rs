// SPDX-License-Identifier: Apache-2.0
//! Reads the fields of JSON objects and collects everything that is wrong with them, so that one answer tells all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::json::{Members, Node};

/// More findings than this are counted, not told.
const MAX_FINDINGS: usize = 20;
/// Findings quote what was sent; this keeps the answer short whatever that was. In characters.
const MAX_QUOTE: usize = 300;

/// Something wrong with a value in a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Where: a JSON pointer as a URI fragment, `#/backends/0/ip` (RFC 6901 section 6).
    pub(crate) pointer: String,
    /// What, in words for who typed it.
    pub(crate) detail: String,
}

/// Everything wrong with a body.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    untold: usize,
}

impl Findings {
    /// Takes a pointer and a detail, which are made only if they are told.
    pub(crate) fn add(&mut self, finding: impl FnOnce() -> (String, String)) {
        if self.list.len() < MAX_FINDINGS {
            let (pointer, detail) = finding();
            self.list.push(Finding { pointer: shorten(pointer), detail: shorten(detail) });
        } else {
            self.untold += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The findings, and how many more there were.
    pub(crate) fn into_parts(self) -> (Vec<Finding>, usize) {
        (self.list, self.untold)
    }
}

/// The objects of a list; `at` is the pointer to it. Anything but a list is a finding.
pub(crate) fn list<T>(
    node: Node,
    at: &str,
    findings: &mut Findings,
    mut read: impl FnMut(Fields<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    match node {
        Node::List(items) => {
            let item = |(index, item)| read(Fields::of(item, format!("{at}/{index}"), findings)?);
            Some(items.into_iter().enumerate().filter_map(item).collect())
        }
        other @ (Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::Object(_)) => {
            findings.add(|| (at.to_owned(), format!("must be an array in [], not {}", other.kind())));
            None
        }
    }
}

/// The fields of one object, taken one by one. What has not been taken by the time of [`Fields::finish`] is unknown.
pub(crate) struct Fields<'f> {
    at: String,
    left: BTreeMap<String, Node>,
    repeated: BTreeSet<String>,
    known: Vec<&'static str>,
    findings: &'f mut Findings,
}

impl<'f> Fields<'f> {
    /// The fields of an object; `at` is the pointer to it. Anything but an object is a finding.
    pub(crate) fn of(node: Node, at: String, findings: &'f mut Findings) -> Option<Self> {
        match node {
            Node::Object(Members { fields, repeated }) => {
                Some(Self { at, left: fields, repeated, known: Vec::new(), findings })
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_) => {
                findings.add(|| (at, format!("must be an object in {{}}, not {}", node.kind())));
                None
            }
        }
    }

    /// A field that may be left out.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(name)?;
        read(&node).map_err(|why| self.found(name, || why)).ok()
    }

    /// A field that may be left out or null.
    pub(crate) fn nullable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(name)?;
        if node == Node::Null { None } else { read(&node).map_err(|why| self.found(name, || why)).ok() }
    }

    /// A field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        self.expect(name);
        self.optional(name, read)
    }

    /// A list of objects that may be left out; null is an empty one.
    pub(crate) fn list<T>(&mut self, name: &'static str, read: impl FnMut(Fields<'_>) -> Option<T>) -> Option<Vec<T>> {
        let node = self.take(name)?;
        if matches!(node, Node::Null) {
            return Some(Vec::new());
        }
        list(node, &pointer(&self.at, name), self.findings, read)
    }

    /// An object that may be left out: `None`; or null: `Some(None)`.
    pub(crate) fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Fields<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        let node = self.take(name)?;
        if node == Node::Null {
            return Some(None);
        }
        read(Fields::of(node, pointer(&self.at, name), self.findings)?).map(Some)
    }

    /// Whether there is such a field, whatever it holds.
    pub(crate) fn has(&self, name: &'static str) -> bool {
        self.left.contains_key(name)
    }

    /// Finds fault if there is no such field.
    pub(crate) fn expect(&mut self, name: &'static str) {
        if !self.has(name) {
            self.found(name, || "is missing".to_owned());
        }
    }

    /// A field that exists elsewhere in the API but must not be given here.
    pub(crate) fn refuse(&mut self, name: &'static str, why: &str) {
        if self.left.remove(name).is_some() {
            self.found(name, || why.to_owned());
        }
    }

    /// A field that is shown, changes by itself, and may be sent back as it was.
    pub(crate) fn pass_over(&mut self, name: &'static str) {
        self.left.remove(name);
    }

    /// Whatever is left is unknown; whatever was given twice is a mistake.
    pub(crate) fn finish(mut self) {
        for name in std::mem::take(&mut self.repeated) {
            self.found(&name, || "is given more than once".to_owned());
        }
        let known = std::mem::take(&mut self.known);
        for name in std::mem::take(&mut self.left).into_keys() {
            self.found(&name, || match near(&name, &known) {
                Some(meant) => format!("there is no such field; did you mean {meant:?}?"),
                None => format!("there is no such field; there are {}", known.join(", ")),
            });
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Node> {
        self.known.push(name);
        self.left.remove(name)
    }

    /// Finds fault with a field.
    pub(crate) fn found(&mut self, name: &str, why: impl FnOnce() -> String) {
        let at = &self.at;
        self.findings.add(|| (pointer(at, name), why()));
    }
}

fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", step(name))
}

/// The name as it is in a pointer.
pub(crate) fn step(name: &str) -> String {
    percent_encode(&name.replace('~', "~0").replace('/', "~1"))
}

/// Writes all but RFC 3986's unreserved characters as %XX.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_QUOTE) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The known name that was probably meant: at most two letters away, upper and lower case alike.
pub(crate) fn near(name: &str, known: &[&'static str]) -> Option<&'static str> {
    const LONGEST: usize = 32;
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_lowercase();
    known
        .iter()
        .map(|candidate| (distance(&name, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .map(|(_, candidate)| candidate)
}

/// How many letters to add, drop, change or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
    let mut two_above = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cheapest = (at(&above, j) + usize::from(x != y)).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                cheapest = cheapest.min(at(&two_above, j - 1) + 1);
            }
            row.push(cheapest);
        }
        two_above = std::mem::replace(&mut above, row);
    }
    at(&above, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_recognised() {
        let known = ["name", "port", "eip", "backends"];
        for (typed, meant) in [
            ("Port", Some("port")),
            ("prot", Some("port")),
            ("backend", Some("backends")),
            ("EIP", Some("eip")),
            ("ip", Some("eip")),
            ("names", Some("name")),
            ("weight", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(near(typed, &known), meant, "{typed}");
        }
    }

    #[test]
    fn many_findings_are_counted_and_long_ones_cut() {
        let mut findings = Findings::default();
        let object = (0..50_000).map(|n| (format!("{n}{}", "é".repeat(1000)), Node::Null)).collect();
        let node = Node::Object(Members { fields: object, ..Members::default() });
        Fields::of(node, "#".to_owned(), &mut findings).unwrap().finish();
        let (list, untold) = findings.into_parts();
        assert_eq!((list.len(), untold), (MAX_FINDINGS, 50_000 - MAX_FINDINGS));
        assert!(list.iter().all(|finding| finding.pointer.chars().count() == MAX_QUOTE + 1));
    }

    #[test]
    fn pointers_are_escaped() {
        let mut findings = Findings::default();
        let fields = BTreeMap::from([("a/b~c d".to_owned(), Node::Null)]);
        let node = Node::Object(Members { fields, ..Members::default() });
        Fields::of(node, "#".to_owned(), &mut findings).unwrap().finish();
        assert_eq!(findings.into_parts().0[0].pointer, "#/a~1b~0c%20d");
    }
}
