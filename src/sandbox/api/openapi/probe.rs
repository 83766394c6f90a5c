//! The schema of a type, found out by reading it from nothing: k8s-openapi's types ask their deserializer for a struct
//! of this name with these fields, and for each field for an option, a list, a text. [`Probe`] writes down what is asked
//! for and answers with the least that can be read.

use std::{cell::RefCell, collections::BTreeMap};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
    value::{Error, StrDeserializer},
};
use serde_json::{Map, Value, json};

/// How deep types are followed; none of the served ones is nearly as deep.
const DEPTH_MAX: usize = 40;

/// A time that every reader of times takes.
const SOME_TIME: &str = "1970-01-01T00:00:00Z";

/// Schemas by the names of types.
pub(super) type Schemas = BTreeMap<String, Value>;

/// The schemas of a type and all that it is made of; `texts` are those fields of the type itself that must read so
/// (`apiVersion` and `kind`).
pub(super) fn schemas<T: DeserializeOwned>(texts: &[(&str, &str)], into: Schemas) -> Schemas {
    let found = RefCell::new(into);
    let mut reference = Value::Null;
    let probe = Probe { found: &found, schema: &mut reference, text: "", texts, depth: 0 };
    if let Err(error) = T::deserialize(probe) {
        tracing::debug!(%error, "a type's schema is incomplete");
    }
    found.into_inner()
}

/// A reference to a type's schema.
pub(super) fn reference(name: &str) -> Value {
    json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}], "default": {}})
}

struct Probe<'a> {
    found: &'a RefCell<Schemas>,
    /// Where the schema of what is asked for goes.
    schema: &'a mut Value,
    /// The text to answer with.
    text: &'a str,
    /// The texts for the fields of the struct that is asked for.
    texts: &'a [(&'a str, &'a str)],
    depth: usize,
}

impl<'a> Probe<'a> {
    fn scalar(self, kind: &str, format: &str) -> &'a str {
        *self.schema = json!({"type": kind});
        if !format.is_empty() {
            self.schema["format"] = json!(format);
        }
        self.text
    }
}

macro_rules! scalars {
    ($($method:ident $kind:literal $format:literal $visit:ident $value:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.scalar($kind, $format);
            visitor.$visit($value)
        })*
    };
}

macro_rules! texts {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_str(self.scalar("string", ""))
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    scalars! {
        deserialize_bool "boolean" "" visit_bool false;
        deserialize_i8 "integer" "int32" visit_i8 0;
        deserialize_i16 "integer" "int32" visit_i16 0;
        deserialize_i32 "integer" "int32" visit_i32 0;
        deserialize_i64 "integer" "int64" visit_i64 0;
        deserialize_u8 "integer" "int32" visit_u8 0;
        deserialize_u16 "integer" "int32" visit_u16 0;
        deserialize_u32 "integer" "int32" visit_u32 0;
        deserialize_u64 "integer" "int64" visit_u64 0;
        deserialize_f32 "number" "double" visit_f32 0.0;
        deserialize_f64 "number" "double" visit_f64 0.0;
    }

    texts! { deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
    deserialize_identifier }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // Within another type that has said what it is, this is how it is written.
        if self.schema.is_null() {
            *self.schema = json!({"x-kubernetes-int-or-string": true});
        }
        visitor.visit_str(self.text)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let (schema, text) = match name {
            "Time" | "MicroTime" => (json!({"type": "string", "format": "date-time"}), SOME_TIME),
            "Quantity" => (json!({"type": "string"}), "0"),
            "ByteString" => (json!({"type": "string", "format": "byte"}), ""),
            _ => (json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), ""),
        };
        *self.schema = schema;
        let mut inner = json!({});
        visitor.visit_newtype_struct(Probe { schema: &mut inner, text, ..self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut items = Value::Null;
        let one = Elements { found: self.found, schema: &mut items, depth: self.depth, left: 1 };
        let read = visitor.visit_seq(one);
        *self.schema = json!({"type": "array", "items": items});
        read
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut values = Value::Null;
        let one = Elements { found: self.found, schema: &mut values, depth: self.depth, left: 1 };
        let read = visitor.visit_map(one);
        *self.schema = json!({"type": "object", "additionalProperties": values});
        read
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.schema = reference(name);
        let known = self.found.borrow().contains_key(name);
        if known || self.depth >= DEPTH_MAX {
            // Its fields are all left out.
            return visitor.visit_map(&mut Fields::of(self.found, &[], &[], self.depth));
        }
        // So that a type which contains itself is not followed for ever.
        self.found.borrow_mut().insert(name.to_owned(), Value::Null);
        let mut fields = Fields::of(self.found, fields, self.texts, self.depth);
        let read = visitor.visit_map(&mut fields);
        let schema = json!({"type": "object", "properties": fields.properties});
        self.found.borrow_mut().insert(name.to_owned(), schema);
        read
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("Kubernetes has no such types"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// One element of a list, or one entry of a map.
struct Elements<'a> {
    found: &'a RefCell<Schemas>,
    schema: &'a mut Value,
    depth: usize,
    left: usize,
}

impl Elements<'_> {
    fn probe(&mut self) -> Probe<'_> {
        Probe { found: self.found, schema: self.schema, text: "", texts: &[], depth: self.depth + 1 }
    }

    fn take(&mut self) -> bool {
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.take() { seed.deserialize(self.probe()).map(Some) } else { Ok(None) }
    }
}

impl<'de> MapAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.take() { seed.deserialize(StrDeserializer::new("key")).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.probe())
    }
}

/// The fields of a struct, one after another.
struct Fields<'a> {
    found: &'a RefCell<Schemas>,
    names: &'static [&'static str],
    texts: &'a [(&'a str, &'a str)],
    depth: usize,
    at: usize,
    properties: Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(
        found: &'a RefCell<Schemas>,
        fields: &'static [&'static str],
        texts: &'a [(&'a str, &'a str)],
        depth: usize,
    ) -> Self {
        Self { found, names: fields, texts, depth, at: 0, properties: Map::new() }
    }
}

impl<'de> MapAccess<'de> for &mut Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.names.get(self.at) else { return Ok(None) };
        self.at += 1;
        seed.deserialize(StrDeserializer::new(field)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let field = self.names[self.at - 1];
        let text = self.texts.iter().find(|(name, _)| *name == field).map_or("", |(_, text)| *text);
        let mut schema = Value::Null;
        let probe = Probe { found: self.found, schema: &mut schema, text, texts: &[], depth: self.depth + 1 };
        let read = seed.deserialize(probe);
        self.properties.insert(field.to_owned(), schema);
        read
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    #[test]
    fn a_type_is_found_out_with_all_that_it_is_made_of() {
        let found = schemas::<Pod>(&[("apiVersion", "v1"), ("kind", "Pod")], Schemas::new());
        assert_eq!(found["Pod"]["properties"]["spec"], reference("PodSpec"));
        let container = &found["Container"]["properties"];
        assert_eq!(container["args"], json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!(container["name"], json!({"type": "string"}));
        let requirements = &found["ResourceRequirements"]["properties"];
        assert_eq!(requirements["limits"], json!({"type": "object", "additionalProperties": {"type": "string"}}));
        assert_eq!(
            found["ContainerPort"]["properties"]["containerPort"],
            json!({"type": "integer", "format": "int32"})
        );
        assert_eq!(found["HTTPGetAction"]["properties"]["port"], json!({"x-kubernetes-int-or-string": true}));
        let metadata = &found["ObjectMeta"]["properties"];
        assert_eq!(metadata["creationTimestamp"]["format"], "date-time");
        assert!(found.values().all(|schema| schema["type"] == "object"));
    }
}
