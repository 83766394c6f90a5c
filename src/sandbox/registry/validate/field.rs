//! A place within an object: what is there, and its path as Kubernetes writes it. A path is only spelled out where
//! something is wrong.

use std::fmt;

use serde_json::Value;

use super::super::json::sorted;
use crate::sandbox::error::{FieldError, FieldErrorKind};

/// What is wrong with an object so far.
pub(super) type Errors = Vec<FieldError>;

/// A path.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
    Key(&'a Path<'a>, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Path::Root, name) => f.write_str(name),
            Self::Member(before, name) => write!(f, "{before}.{name}"),
            Self::Item(before, index) => write!(f, "{before}[{index}]"),
            Self::Key(before, key) => write!(f, "{before}[{key}]"),
        }
    }
}

/// A place within an object.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    value: &'a Value,
    path: Path<'a>,
}

static NOTHING: Value = Value::Null;

impl<'a> Field<'a> {
    /// The object itself.
    pub(super) const fn root(value: &'a Value) -> Self {
        Self { value, path: Path::Root }
    }

    /// A member, which need not be there.
    pub(super) fn child<'b>(&'b self, name: &'b str) -> Field<'b> {
        Field { value: self.value.get(name).unwrap_or(&NOTHING), path: Path::Member(&self.path, name) }
    }

    /// An item of a list.
    pub(super) fn item(&self, index: usize) -> Field<'_> {
        Field { value: self.value.get(index).unwrap_or(&NOTHING), path: Path::Item(&self.path, index) }
    }

    /// An entry of a map, whose path is written with brackets.
    pub(super) fn key<'b>(&'b self, key: &'b str) -> Field<'b> {
        Field { value: self.value.get(key).unwrap_or(&NOTHING), path: Path::Key(&self.path, key) }
    }

    /// The same path with another value, for what is wrong with a whole because of a part.
    pub(super) const fn with<'b>(&'b self, value: &'b Value) -> Field<'b> {
        Field { value, path: self.path }
    }

    /// What is there.
    pub(super) const fn value(&self) -> &'a Value {
        self.value
    }

    /// Whether anything is there.
    pub(super) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text there, empty where there is none.
    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The number there, 0 where there is none.
    pub(super) fn int(&self) -> i64 {
        self.value.as_i64().unwrap_or_default()
    }

    /// The number there.
    pub(super) fn some_int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The number of items or members.
    pub(super) fn len(&self) -> usize {
        match self.value {
            Value::Array(all) => all.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }

    /// Whether there are no items and no members.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    /// Calls a check for each item of the list.
    pub(super) fn each(&self, mut check: impl FnMut(usize, Field<'_>)) {
        if let Value::Array(all) = self.value {
            for index in 0..all.len() {
                check(index, self.item(index));
            }
        }
    }

    /// The path.
    pub(super) fn path(&self) -> String {
        self.path.to_string()
    }

    /// What is here is missing.
    pub(super) fn required(&self, detail: impl Into<String>) -> FieldError {
        FieldError::required(self.path(), detail)
    }

    /// What is here is not allowed.
    pub(super) fn invalid(&self, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(self.path(), &sorted(self.value), detail)
    }

    /// The text that is here, or the empty one, is not allowed.
    pub(super) fn invalid_text(&self, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(self.path(), &Value::from(self.text()), detail)
    }

    /// Something about what is here is not allowed, and its value is not shown.
    pub(super) fn invalid_unshown(&self, detail: impl Into<String>) -> FieldError {
        FieldError { field: self.path(), kind: FieldErrorKind::Invalid, detail: detail.into(), value: None }
    }

    /// Nothing may be here, or it may not change.
    pub(super) fn forbidden(&self, detail: impl Into<String>) -> FieldError {
        FieldError::forbidden(self.path(), detail)
    }

    /// What is here is none of these.
    pub(super) fn not_supported(&self, supported: &[&str]) -> FieldError {
        FieldError::not_supported(self.path(), &sorted(self.value), supported)
    }

    /// What is here is there already.
    pub(super) fn duplicate(&self) -> FieldError {
        FieldError::duplicate(self.path(), &sorted(self.value))
    }

    /// What this refers to is not there.
    pub(super) fn not_found(&self) -> FieldError {
        FieldError {
            field: self.path(),
            kind: FieldErrorKind::NotFound,
            detail: String::new(),
            value: Some(Value::from(self.text()).to_string()),
        }
    }

    /// What is here is longer than so many bytes.
    pub(super) fn too_long(&self, most: usize) -> FieldError {
        let detail = format!("may not be more than {most} bytes");
        FieldError { field: self.path(), kind: FieldErrorKind::TooLong, detail, value: None }
    }
}

/// Adds an error for each of a rule's complaints about a text.
pub(super) fn complain(field: &Field<'_>, complaints: Vec<String>, errors: &mut Errors) {
    errors.extend(complaints.into_iter().map(|detail| field.invalid_text(detail)));
}

/// A number that may not be negative.
pub(super) fn non_negative(field: &Field<'_>, errors: &mut Errors) {
    if field.int() < 0 {
        errors.push(field.invalid("must be greater than or equal to 0"));
    }
}

/// A number that must be positive.
pub(super) fn positive(field: &Field<'_>, errors: &mut Errors) {
    if field.int() <= 0 {
        errors.push(FieldError::invalid(field.path(), &Value::from(field.int()), "must be greater than zero"));
    }
}

/// A text that must be one of these, and there.
pub(super) fn one_of(field: &Field<'_>, supported: &[&str], errors: &mut Errors) {
    if field.text().is_empty() {
        errors.push(field.required(""));
    } else if !supported.contains(&field.text()) {
        errors.push(field.not_supported(supported));
    }
}

/// A field that may not change.
pub(super) fn immutable(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    if new.value() != old.value() {
        errors.push(new.invalid("field is immutable"));
    }
}
