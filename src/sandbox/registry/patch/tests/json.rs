use serde_json::json;

use super::*;

fn patched(target: &Value, patch: &Value) -> Result<Value, ApiError> {
    apply(target.clone(), &parse(patch.to_string().as_bytes())?)
}

#[test]
fn the_examples_of_the_rfc_hold() {
    // RFC 6902, appendix A.
    let cases = [
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            json!({"baz": "qux", "foo": "bar"}),
        ),
        (
            json!({"foo": ["bar", "baz"]}),
            json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
            json!({"foo": ["bar", "qux", "baz"]}),
        ),
        (json!({"baz": "qux", "foo": "bar"}), json!([{"op": "remove", "path": "/baz"}]), json!({"foo": "bar"})),
        (json!({"baz": "qux"}), json!([{"op": "replace", "path": "/baz", "value": "boo"}]), json!({"baz": "boo"})),
        (
            json!({"a": {"b": 1}, "c": {}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
            json!({"a": {}, "c": {"d": 1}}),
        ),
        (
            json!({"foo": ["bar"]}),
            json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
            json!({"foo": ["bar", ["abc"]]}),
        ),
        (json!({"/": 9, "~1": 10}), json!([{"op": "test", "path": "/~01", "value": 10}]), json!({"/": 9, "~1": 10})),
        (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1})),
        // As upstream's library has it: a field that isn't there is null.
        (json!({"a": 1}), json!([{"op": "test", "path": "/b", "value": null}]), json!({"a": 1})),
    ];
    for (target, patch, wanted) in cases {
        assert_eq!(patched(&target, &patch).unwrap(), wanted, "{target} with {patch}");
    }
}

#[test]
fn what_cannot_be_done_is_422_and_what_is_no_patch_is_400() {
    let target = json!({"a": {"b": 1}, "list": [1]});
    let cases = [
        (json!([{"op": "test", "path": "/a/b", "value": 2}]), 422),
        (json!([{"op": "remove", "path": "/x"}]), 422),
        (json!([{"op": "replace", "path": "/x", "value": 1}]), 422),
        (json!([{"op": "add", "path": "/x/y", "value": 1}]), 422),
        (json!([{"op": "add", "path": "/list/7", "value": 1}]), 422),
        (json!([{"op": "move", "from": "/a", "path": "/a/b"}]), 422),
        (json!({"op": "remove", "path": "/a"}), 400),
        (json!([{"op": "remove", "path": "a"}]), 400),
        (json!([{"op": "add", "path": "/a"}]), 400),
    ];
    for (patch, code) in cases {
        assert_eq!(patched(&target, &patch).unwrap_err().code, code, "{patch}");
    }
    let error = patched(&target, &json!([{"op": "remove", "path": "/x"}])).unwrap_err();
    assert_eq!(
        (error.reason, &*error.message),
        ("Invalid", "the server rejected our request due to an error in our request")
    );
}

#[test]
fn a_patch_has_at_most_ten_thousand_operations() {
    let one = json!({"op": "test", "path": "", "value": {}});
    let most = Value::Array(vec![one.clone(); 10_000]);
    assert!(parse(most.to_string().as_bytes()).is_ok());
    let error = parse(Value::Array(vec![one; 10_001]).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.code, 413);
    assert_eq!(
        error.message,
        "Request entity is too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
}

#[test]
fn copies_can_neither_nest_nor_grow_an_object_without_bounds() {
    let into_itself = Value::Array(vec![json!({"op": "copy", "from": "/a", "path": "/a/a"}); 200]);
    assert_eq!(patched(&json!({"a": {"a": {}}}), &into_itself).unwrap_err().code, 422);

    let doubled = Value::Array(vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 40]);
    assert_eq!(patched(&json!({"a": ["x"]}), &doubled).unwrap_err().code, 422);

    let text = "x".repeat(1 << 20);
    let long: Value = (0..5).map(|at| json!({"op": "copy", "from": "/a", "path": format!("/b{at}")})).collect();
    assert_eq!(patched(&json!({"a": text}), &long).unwrap_err().code, 422);
}
