// SPDX-License-Identifier: Apache-2.0
//! JSON as it was sent: unlike `serde_json::Value` this remembers which fields were given twice, so that they can be refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    /// Every number that the API takes is below 2^53, where this is exact.
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Object(Members),
}

/// The fields of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members {
    /// By name; of a field that was given twice, the last.
    pub(crate) fields: BTreeMap<String, Node>,
    /// Those that were given more than once.
    pub(crate) repeated: BTreeSet<String>,
}

/// Where and why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotJson {
    /// In words.
    pub(crate) why: String,
    /// Counts from 1.
    pub(crate) line: usize,
    /// In bytes, counts from 1; 0 is the end of the line before.
    pub(crate) column: usize,
}

/// What has most likely happened to what has no double quotes at all.
const UNQUOTED: &str =
    "; there are no double quotes in it: a shell takes them away, unless the body is in single quotes";

impl NotJson {
    fn of(text: &[u8], error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let why = error.to_string();
        let position = format!(" at line {line} column {column}");
        let why = why.strip_suffix(&position).unwrap_or(&why);
        let hint = if text.contains(&b'"') { "" } else { UNQUOTED };
        Self { why: format!("{why}{hint}"), line, column }
    }
}

impl Node {
    /// Reads exactly one JSON value.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, NotJson> {
        serde_json::from_slice(text).map_err(|error| NotJson::of(text, &error))
    }

    /// Reads exactly one JSON value: an array, whose items `take` is given one by one so that they are never all there, or something else,
    /// which is returned.
    pub(crate) fn each(text: &[u8], take: impl FnMut(Self)) -> Result<Option<Self>, NotJson> {
        if text.trim_ascii_start().first() != Some(&b'[') {
            return Self::parse(text).map(Some);
        }
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let read = deserializer.deserialize_seq(Items(take)).and_then(|()| deserializer.end());
        read.map(|()| None).map_err(|error| NotJson::of(text, &error))
    }

    /// What kind of value it is, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// Hands on what is in an array.
struct Items<F>(F);

impl<'de, F: FnMut(Node)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        while let Some(node) = access.next_element()? {
            (self.0)(node);
        }
        Ok(())
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = access.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Members::default();
        while let Some((name, node)) = access.next_entry::<String, Node>()? {
            if members.fields.contains_key(&name) {
                members.repeated.insert(name.clone());
            }
            members.fields.insert(name, node);
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_json_is_located() {
        for (text, line, column) in [
            ("{\"name\":\n  nope}", 2, 4),
            ("{} {}", 1, 4),
            ("{\"port\":6443", 1, 12),
            ("name=x&port=80", 1, 2),
            ("{\"port\": 080}", 1, 11),
        ] {
            let error = Node::parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text}: {}", error.why);
            assert!(!error.why.contains("line"), "{}", error.why);
            assert_eq!(error.why.contains("single quotes"), !text.contains('"'), "{text}: {}", error.why);
        }
    }

    #[test]
    fn items_come_one_by_one_and_all_of_them_are_read() {
        let each = |text: &str| {
            let mut items = Vec::new();
            Node::each(text.as_bytes(), |item| items.push(item)).map(|other| (items, other))
        };
        let number = Node::Number;
        assert_eq!(
            each(" [1, [2], 3] ").unwrap(),
            (vec![number(1.0), Node::List(vec![number(2.0)]), number(3.0)], None)
        );
        assert_eq!(each("7").unwrap(), (vec![], Some(number(7.0))));
        for text in ["[1", "[1] 2", "[1,]", "", "["] {
            assert_eq!(each(text).map(drop), Node::parse(text.as_bytes()).map(drop), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        assert!(Node::parse(&[b'['; 100_000]).is_err());
    }

    #[test]
    fn fields_given_twice_are_remembered() {
        let Node::Object(members) = Node::parse(br#"{"a":1,"b":2,"a":3,"a":4}"#).unwrap() else { panic!("no object") };
        assert_eq!(members.repeated, BTreeSet::from(["a".to_owned()]));
        assert_eq!(members.fields.get("a"), Some(&Node::Number(4.0)));
    }
}
