//! What the API's types say about merging: which lists are sets or maps and by which keys, which objects are one value
//! that is only ever replaced as a whole. Two readers: strategic merge patch (`patchStrategy`, `patchMergeKey`) and
//! server-side apply (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
//!
//! Only what differs from the usual is written down (in `types.rs`): an object is merged field by field, a list is
//! replaced as a whole (k/staging/src/k8s.io/api/*/types.go, v0.34.4).

use serde_json::{Map, Value};

use super::{field_set::Element, types};
use crate::sandbox::kinds::Kind;

/// A type, by what is unusual about it.
#[derive(Debug)]
pub struct Type {
    /// Applying replaces it as a whole.
    pub atomic: bool,
    /// The fields that are unusual.
    pub fields: &'static [Field],
}

/// A field that is unusual, or whose type has such fields.
#[derive(Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// How it is applied.
    pub shape: Shape,
    /// How a strategic merge patch treats it.
    pub strategy: Strategy,
    /// Its type, or that of its elements.
    pub of: &'static Type,
    /// The API server's own type has it always, empty at least.
    pub always: bool,
}

/// How a field's value is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object with fields, a scalar, or a list that is one value.
    One,
    /// An object whose keys are data, such as labels.
    Map,
    /// A list of scalars, each there once.
    Set,
    /// A list of objects that have these keys.
    Keyed(&'static [Key]),
}

/// A key of list elements.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The field.
    pub name: &'static str,
    /// What it is where an element leaves it out.
    pub default: Option<&'static str>,
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Objects are merged, lists replaced.
    Usual,
    /// A list is merged: of objects by this key, of scalars (an empty key) as a set.
    Merge(&'static str),
    /// Even an object is replaced.
    Replace,
}

impl Field {
    const fn new(name: &'static str, shape: Shape, of: &'static Type) -> Self {
        Self { name, shape, strategy: Strategy::Usual, of, always: false }
    }

    /// An object.
    pub(super) const fn one(name: &'static str, of: &'static Type) -> Self {
        Self::new(name, Shape::One, of)
    }

    /// An object that the API server's own type always has.
    pub(super) const fn always(name: &'static str, of: &'static Type) -> Self {
        Self { always: true, ..Self::new(name, Shape::One, of) }
    }

    /// An object that is one value.
    pub(super) const fn atomic(name: &'static str) -> Self {
        Self::new(name, Shape::One, &types::ATOMIC)
    }

    /// An object whose keys are data.
    pub(super) const fn map(name: &'static str) -> Self {
        Self::new(name, Shape::Map, &types::PLAIN)
    }

    /// A list of scalars, each there once.
    pub(super) const fn set(name: &'static str) -> Self {
        Self::new(name, Shape::Set, &types::PLAIN)
    }

    /// A list of objects with keys.
    pub(super) const fn keyed(name: &'static str, keys: &'static [Key], of: &'static Type) -> Self {
        Self::new(name, Shape::Keyed(keys), of)
    }

    /// The same, merged by strategic merge patches.
    pub(super) const fn merged_by(self, key: &'static str) -> Self {
        Self { strategy: Strategy::Merge(key), ..self }
    }

    /// The same, replaced by strategic merge patches.
    pub(super) const fn replaced(self) -> Self {
        Self { strategy: Strategy::Replace, ..self }
    }
}

/// A key without a default.
pub(super) const fn key(name: &'static str) -> Key {
    Key { name, default: None }
}

/// A place in an object: what is known about the value there.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// How it is applied.
    pub shape: Shape,
    /// Its type, or that of its elements.
    pub of: &'static Type,
    /// How a strategic merge patch treats it.
    pub strategy: Strategy,
}

const PLAIN_AT: At = At { shape: Shape::One, of: &types::PLAIN, strategy: Strategy::Usual };

/// A value, seen as server-side apply sees it.
#[derive(Debug)]
pub enum Form<'v> {
    /// One value: a scalar, or an atomic list or object.
    Leaf,
    /// An object that is merged by its fields.
    Object(&'v Map<String, Value>),
    /// A list that is merged by its elements, each with its name within the list.
    Elements(Vec<(Element, &'v Value)>),
}

impl At {
    /// An object of a kind.
    #[must_use]
    pub fn root(kind: &Kind) -> Self {
        Self { of: types::of_kind(kind.kind), ..PLAIN_AT }
    }

    fn field(self, name: &str) -> Option<&'static Field> {
        if self.shape != Shape::One {
            return None;
        }
        self.of.fields.iter().find(|field| field.name == name)
    }

    /// A field of the object here.
    #[must_use]
    pub fn child(self, name: &str) -> Self {
        self.field(name).map_or(PLAIN_AT, |field| Self { shape: field.shape, of: field.of, strategy: field.strategy })
    }

    /// Whether the object here has this field always, in the server's own type.
    #[must_use]
    pub fn always_has(self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.always)
    }

    /// An element of the list here.
    #[must_use]
    pub const fn item(self) -> Self {
        Self { shape: Shape::One, of: self.of, strategy: Strategy::Usual }
    }

    /// What an element of a path leads to.
    #[must_use]
    pub fn step(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.child(name),
            Element::Key(_) | Element::Value(_) | Element::Index(_) => self.item(),
        }
    }

    /// Whether the keys of the object here are declared fields rather than data.
    #[must_use]
    pub fn has_named_fields(self) -> bool {
        self.shape == Shape::One
    }

    /// How apply sees a value here. A list whose elements cannot be told apart by their keys is one value.
    #[must_use]
    pub fn form(self, value: &Value) -> Form<'_> {
        match (self.shape, value) {
            (Shape::One, Value::Object(map)) if !self.of.atomic => Form::Object(map),
            (Shape::Map, Value::Object(map)) => Form::Object(map),
            (Shape::Set, Value::Array(items)) if items.iter().all(is_scalar) => {
                Form::Elements(items.iter().map(|item| (Element::of_value(item), item)).collect())
            }
            (Shape::Keyed(keys), Value::Array(items)) => {
                let named = items.iter().map(|item| Some((keys_of(keys, item).ok()?, item)));
                named.collect::<Option<Vec<_>>>().map_or(Form::Leaf, Form::Elements)
            }
            _ => Form::Leaf,
        }
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array() && !value.is_null()
}

/// The name of an element within its list.
///
/// # Errors
/// A key that is missing or no scalar.
pub fn keys_of(keys: &[Key], item: &Value) -> Result<Element, String> {
    if !item.is_object() {
        return Err("associative list with keys may not have non-map elements".to_owned());
    }
    let mut named = Map::new();
    for key in keys {
        let value = match (item.get(key.name).filter(|value| !value.is_null()), key.default) {
            (Some(value), _) if is_scalar(value) => value.clone(),
            (None, Some(default)) => Value::from(default),
            _ => {
                return Err(format!(
                    "associative list with keys has an element that omits key field {:?} (and doesn't have default value)",
                    key.name
                ));
            }
        };
        named.insert(key.name.to_owned(), value);
    }
    Ok(Element::of_keys(named))
}
