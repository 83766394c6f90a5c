//! Sets of fields, as `metadata.managedFields[].fieldsV1` writes them
//! (structured-merge-diff/fieldpath/{set,serialize,serialize-pe}.go, v6.3.0).

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of an object, `f:`.
    Field(String),
    /// An element of a list by its keys, `k:`: their JSON, sorted by name.
    Key(String),
    /// An element of a set, `v:`: its JSON.
    Value(String),
    /// An element of a list by its place, `i:`.
    Index(u32),
}

impl Element {
    /// A field.
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// An element of a set.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        Self::Value(value.to_string())
    }

    /// An element of a list with keys.
    #[must_use]
    pub fn of_keys(mut keys: Map<String, Value>) -> Self {
        keys.sort_keys();
        Self::Key(Value::Object(keys).to_string())
    }

    fn read(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once(':')?;
        match prefix {
            "f" => Some(Self::field(rest)),
            "k" => Some(Self::of_keys(serde_json::from_str(rest).ok()?)),
            "v" => Some(Self::of_value(&serde_json::from_str(rest).ok()?)),
            "i" => Some(Self::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// As conflicts name it: `.containers`, `[name="web"]`, `[="kubernetes"]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let texts: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", texts.join(","))
            }
        }
    }
}

/// A path as text.
#[must_use]
pub fn path_text(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<Element, Node>,
}

/// What a set holds at one step: the step itself, and what is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The step itself belongs to the set.
    pub member: bool,
    /// What below it does.
    pub below: FieldSet,
}

impl Node {
    /// A node with nothing below it.
    #[must_use]
    pub fn leaf() -> Self {
        Self { member: true, below: FieldSet::default() }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What it holds at a step.
    #[must_use]
    pub fn node(&self, element: &Element) -> Option<&Node> {
        self.nodes.get(element)
    }

    /// All steps.
    pub fn nodes(&self) -> impl Iterator<Item = (&Element, &Node)> {
        self.nodes.iter()
    }

    /// Adds a node; an empty one adds nothing.
    pub fn add(&mut self, element: Element, node: Node) {
        if node.is_empty() {
            return;
        }
        let known = self.nodes.entry(element).or_default();
        known.member |= node.member;
        if known.below.is_empty() {
            known.below = node.below;
        } else {
            known.below.unite(&node.below);
        }
    }

    /// Adds a path; the empty one is none.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Adds another set.
    pub fn unite(&mut self, other: &Self) {
        for (element, node) in &other.nodes {
            let known = self.nodes.entry(element.clone()).or_default();
            known.member |= node.member;
            known.below.unite(&node.below);
        }
    }

    /// Both together.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.unite(other);
        all
    }

    /// The paths that the other set does not have; having a path says nothing of those below it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |own, others| own && !others, true)
    }

    /// The paths that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |own, others| own && others, false)
    }

    fn combine(&self, other: &Self, member: fn(bool, bool) -> bool, keep_own: bool) -> Self {
        let mut all = Self::default();
        for (element, node) in &self.nodes {
            let combined = match other.nodes.get(element) {
                None if keep_own => node.clone(),
                None => continue,
                Some(others) => Node {
                    member: member(node.member, others.member),
                    below: node.below.combine(&others.below, member, keep_own),
                },
            };
            if !combined.is_empty() {
                all.nodes.insert(element.clone(), combined);
            }
        }
        all
    }

    /// Drops a field of the root and all below it.
    pub fn drop_field(&mut self, name: &str) {
        self.nodes.remove(&Element::field(name));
    }

    /// All paths, a step before those below it.
    #[must_use]
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut found = Vec::new();
        self.walk(&mut Vec::new(), &mut found);
        found
    }

    /// The members of one level come before those of the next, as upstream goes through a set.
    fn walk(&self, path: &mut Vec<Element>, found: &mut Vec<Vec<Element>>) {
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.member) {
            found.push(path.iter().chain([element]).cloned().collect());
        }
        for (element, node) in &self.nodes {
            path.push(element.clone());
            node.below.walk(path, found);
            path.pop();
        }
    }

    /// Reads `fieldsV1`.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (key, value) in value.as_object()? {
            if key == "." {
                continue;
            }
            let below = Self::read(value)?;
            let map = value.as_object()?;
            let member = map.is_empty() || map.contains_key(".");
            set.add(Element::read(key)?, Node { member, below });
        }
        Some(set)
    }

    /// Writes `fieldsV1`.
    #[must_use]
    pub fn write(&self) -> Value {
        let nodes = self.nodes.iter().map(|(element, node)| {
            let mut below = node.below.write();
            if let Value::Object(map) = &mut below
                && node.member
                && !map.is_empty()
            {
                map.shift_insert(0, ".".to_owned(), json!({}));
            }
            (element.write(), below)
        });
        Value::Object(nodes.collect())
    }
}

#[cfg(test)]
#[path = "tests/field_set.rs"]
mod tests;
