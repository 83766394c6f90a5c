//! Bodies in Kubernetes' protobuf, which Go clients send unless they are told otherwise: read into the same JSON as all
//! others (apimachinery/pkg/runtime/serializer/protobuf/protobuf.go, v0.34.4). Answers are JSON, which those clients take
//! as well.
//!
//! * `wire`: numbers, lengths, fields.
//! * `fields`: which message has which fields, from `fields.txt`.

mod fields;
mod wire;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::{
    fields::{Count, Field, Kind},
    wire::{Read, Reader},
};
use crate::sandbox::error::ApiError;

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What a body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages go at most; those of Kubernetes go less than half as deep.
const DEPTH_MAX: usize = 64;

/// Reads an object.
///
/// # Errors
/// 400 for what is no such object, 415 for kinds whose messages are not known.
pub(super) fn object(bytes: &[u8]) -> Result<Value, ApiError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or_else(|| broken("the body does not begin with k8s"))?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(envelope) {
        match field? {
            (1, Read::Bytes(types)) => {
                for field in Reader::new(types) {
                    match field? {
                        (1, Read::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Read::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Read::Bytes(bytes)) => raw = bytes,
            (3 | 4, Read::Bytes(encoding)) if !encoding.is_empty() => {
                return Err(broken("the object is encoded twice"));
            }
            _ => {}
        }
    }
    let name = fields::message_of(&api_version, &kind).ok_or_else(|| {
        ApiError::unsupported_media_type(format!(
            "the evenkeel sandbox does not read objects of kind {kind} ({api_version}) from {MEDIA_TYPE}: have the \
             client send application/json"
        ))
    })?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::from(api_version));
    object.insert("kind".to_owned(), Value::from(kind));
    message(name, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn broken(why: &str) -> ApiError {
    ApiError::bad_request(format!("error decoding protobuf: {why}"))
}

fn text(bytes: &[u8]) -> Result<String, ApiError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| broken("a text is not UTF-8"))
}

/// Reads a message's fields into an object.
fn message(name: &str, bytes: &[u8], into: &mut Map<String, Value>, depth: usize) -> Result<(), ApiError> {
    if depth > DEPTH_MAX {
        return Err(broken("messages are nested too deep"));
    }
    for read in Reader::new(bytes) {
        let (number, read) = read?;
        // What a newer client knows beyond is dropped, as by the real server.
        let Some(field) = fields::find(name, number) else { continue };
        take(field, &read, into, depth)?;
    }
    Ok(())
}

/// Adds a field to an object.
fn take(field: &Field, read: &Read<'_>, into: &mut Map<String, Value>, depth: usize) -> Result<(), ApiError> {
    if field.inline {
        return match (field.kind, read) {
            (Kind::Message(name), Read::Bytes(bytes)) => message(name, bytes, into, depth + 1),
            _ => Err(broken("a message is no message")),
        };
    }
    match field.count {
        Count::One => {
            let value = value(field.kind, read, depth)?;
            if !(field.dropped && is_empty(&value)) {
                into.insert(field.name.to_owned(), value);
            }
        }
        Count::Many => {
            let list = into.entry(field.name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(value(field.kind, read, depth)?);
            }
        }
        Count::ByKey => {
            let Read::Bytes(bytes) = read else { return Err(broken("an entry is no message")) };
            let (key, value) = entry(field.kind, bytes, depth)?;
            into.entry(field.name).or_insert_with(|| json!({}))[key] = value;
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Bool(false)) || *value == 0 || *value == ""
}

/// An entry of a map: its key is field 1, its value field 2.
fn entry(kind: Kind, bytes: &[u8], depth: usize) -> Result<(String, Value), ApiError> {
    let (mut key, mut found) = (String::new(), None);
    for field in Reader::new(bytes) {
        match field? {
            (1, Read::Bytes(bytes)) => key = text(bytes)?,
            (2, read) => found = Some(value(kind, &read, depth)?),
            _ => {}
        }
    }
    let value = match found {
        Some(value) => value,
        None => value(kind, &Read::Bytes(&[]), depth)?,
    };
    Ok((key, value))
}

fn value(kind: Kind, read: &Read<'_>, depth: usize) -> Result<Value, ApiError> {
    match (kind, read) {
        (Kind::Flag, Read::Number(number)) => Ok(json!(*number != 0)),
        // Negative numbers are sent as what they are in 64 bits.
        (Kind::Number, Read::Number(number)) => Ok(json!(number.cast_signed())),
        (Kind::Text, Read::Bytes(bytes)) => text(bytes).map(Value::from),
        (Kind::Bytes, Read::Bytes(bytes)) => Ok(json!(STANDARD.encode(bytes))),
        (Kind::Message(name), Read::Bytes(bytes)) => {
            let mut object = Map::new();
            message(name, bytes, &mut object, depth + 1)?;
            Ok(Value::Object(object))
        }
        (kind, Read::Bytes(bytes)) => special(kind, bytes),
        _ => Err(broken("a field has another type than it should")),
    }
}

/// Types that are written in JSON in another way than field by field.
fn special(kind: Kind, bytes: &[u8]) -> Result<Value, ApiError> {
    let (mut numbers, mut texts) = ([0_i64; 4], Vec::new());
    for field in Reader::new(bytes) {
        match field? {
            (at @ 1..=3, Read::Number(number)) => {
                numbers[usize::try_from(at).unwrap_or_default()] = number.cast_signed();
            }
            (_, Read::Bytes(bytes)) => texts.push(bytes),
            _ => {}
        }
    }
    let first = texts.first().copied().unwrap_or_default();
    match kind {
        Kind::IntOrString if numbers[1] == 0 => Ok(json!(numbers[2])),
        Kind::Quantity | Kind::IntOrString => text(first).map(Value::from),
        Kind::Raw if first.is_empty() => Ok(Value::Null),
        Kind::Raw => serde_json::from_slice(first).map_err(|error| broken(&error.to_string())),
        Kind::Texts => texts.into_iter().map(text).collect::<Result<Vec<_>, _>>().map(Value::from),
        // No time at all is written as nothing.
        Kind::Time | Kind::MicroTime if bytes.is_empty() => Ok(Value::Null),
        Kind::Time => time(numbers, "%Y-%m-%dT%H:%M:%SZ"),
        _ => time(numbers, "%Y-%m-%dT%H:%M:%S.%6fZ"),
    }
}

/// A time: seconds are field 1, billionths field 2.
fn time(numbers: [i64; 4], format: &str) -> Result<Value, ApiError> {
    let nanoseconds = i32::try_from(numbers[2]).map_err(|_| broken("a time is none"))?;
    let time = Timestamp::new(numbers[1], nanoseconds).map_err(|_| broken("a time is none"))?;
    Ok(json!(time.strftime(format).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &types), field(2, raw), field(3, b""), field(4, b"")].concat()
    }

    #[test]
    fn an_object_is_read_into_the_json_that_it_stands_for() {
        let labels = field(11, &[field(1, b"app"), field(2, b"web")].concat());
        let time = field(8, &[0x08, 0x80, 0x94, 0xeb, 0xdc, 0x03]);
        let metadata = field(1, &[field(1, b"cm"), field(2, b""), time, labels].concat());
        let data = field(2, &[field(1, b"a"), field(2, b"1")].concat());
        let binary = field(3, &[field(1, b"b"), field(2, b"\xff")].concat());
        let read = object(&body("v1", "ConfigMap", &[metadata, data, binary].concat())).unwrap();
        assert_eq!(
            read,
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "cm", "creationTimestamp": "2001-09-09T01:46:40Z", "labels": {"app": "web"}},
                "data": {"a": "1"},
                "binaryData": {"b": "/w=="},
            })
        );
    }

    #[test]
    fn amounts_ports_and_what_stands_inline_are_read() {
        // Container: resources 8 {limits 1}, readinessProbe 11 {handler 1 {httpGet 2 {port 2}}, periodSeconds 3}.
        let quantity = field(1, b"100m");
        let limits = field(1, &[field(1, b"cpu"), field(2, &quantity)].concat());
        let port = field(2, &[0x08, 0, 0x10, 0x90, 0x3f]);
        let probe = [field(1, &field(2, &port)), vec![0x18, 0], vec![0x20, 10]].concat();
        let container = [field(1, b"app"), field(8, &limits), field(11, &probe)].concat();
        let spec = [field(2, &container), vec![0x20, 0]].concat();
        let read = object(&body("v1", "Pod", &field(2, &spec))).unwrap();
        assert_eq!(
            read["spec"],
            json!({
                "containers": [{
                    "name": "app",
                    "resources": {"limits": {"cpu": "100m"}},
                    "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 10},
                }],
                // A zero that was set is not the same as nothing.
                "terminationGracePeriodSeconds": 0,
            })
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(object(b"{}").unwrap_err().code, 400);
        assert_eq!(object(&body("example.com/v1", "Widget", b"")).unwrap_err().code, 415);
        for raw in [&b"\x0a"[..], b"\x0a\x7f", b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x08\x01"] {
            assert_eq!(object(&body("v1", "ConfigMap", raw)).map_err(|error| error.code), Err(400), "{raw:?}");
        }
    }
}
