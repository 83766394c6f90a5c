//! Slices as a cluster states them, and the changes told of their endpoints.

use serde_json::{Value, json};

use super::*;

/// An endpoint of a pod with its conditions ready, serving and terminating.
fn endpoint(pod: &str, address: &str, conditions: [bool; 3]) -> Value {
    let [ready, serving, terminating] = conditions;
    json!({"addresses": [address], "targetRef": {"kind": "Pod", "name": pod},
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
}

fn slice(name: &str, endpoints: &[Value]) -> EndpointSlice {
    serde_json::from_value(json!({"addressType": "IPv4", "endpoints": endpoints,
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "shop"}}}))
    .unwrap()
}

const READY: [bool; 3] = [true, true, false];
const GOING: [bool; 3] = [false, true, true];

/// The changes as `pod ready serving terminating`, with 1 and 0, and `gone`.
fn told(out: &mut Vec<What>) -> Vec<String> {
    out.drain(..)
        .map(|what| match what {
            What::Endpoint(seen) if seen.gone => format!("{} gone", seen.pod),
            What::Endpoint(seen) => {
                let bits = [seen.ready, seen.serving, seen.terminating].map(u8::from);
                format!("{} {}{}{}", seen.pod, bits[0], bits[1], bits[2])
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn each_endpoint_is_told_when_it_appears_changes_and_goes() {
    let (mut book, mut out) = (Endpoints::default(), Vec::new());
    book.applied(&slice("s", &[endpoint("a", "10.0.0.1", READY), endpoint("b", "10.0.0.2", READY)]), &mut out);
    assert_eq!(told(&mut out), ["a 110", "b 110"]);
    book.applied(&slice("s", &[endpoint("a", "10.0.0.1", GOING), endpoint("b", "10.0.0.2", READY)]), &mut out);
    assert_eq!(told(&mut out), ["a 011"]);
    book.applied(&slice("s", &[endpoint("b", "10.0.0.2", READY)]), &mut out);
    assert_eq!(told(&mut out), ["a gone"]);
    book.applied(&slice("s", &[endpoint("b", "10.0.0.2", READY)]), &mut out);
    assert_eq!(told(&mut out), Vec::<String>::new());
}

#[test]
fn the_slices_of_a_service_are_merged() {
    let (mut book, mut out) = (Endpoints::default(), Vec::new());
    book.applied(&slice("s1", &[endpoint("a", "10.0.0.1", READY)]), &mut out);
    book.applied(&slice("s2", &[endpoint("a", "10.0.0.1", GOING), endpoint("b", "10.0.0.2", READY)]), &mut out);
    assert_eq!(told(&mut out), ["a 110", "b 110"]);
    book.deleted(&slice("s1", &[]), &mut out);
    assert_eq!(told(&mut out), ["a 011"]);
    book.deleted(&slice("s2", &[]), &mut out);
    assert_eq!(told(&mut out), ["a gone", "b gone"]);
}

#[test]
fn what_vanished_before_a_new_list_gets_its_last_line() {
    let (mut book, mut out) = (Endpoints::default(), Vec::new());
    book.list_begins();
    book.applied(&slice("s1", &[endpoint("a", "10.0.0.1", READY)]), &mut out);
    book.applied(&slice("s2", &[endpoint("b", "10.0.0.2", READY)]), &mut out);
    book.list_ends(&mut out);
    assert_eq!(told(&mut out), ["a 110", "b 110"]);
    book.list_begins();
    book.applied(&slice("s1", &[endpoint("a", "10.0.0.1", READY), endpoint("c", "10.0.0.3", READY)]), &mut out);
    assert_eq!(told(&mut out), Vec::<String>::new());
    book.list_ends(&mut out);
    assert_eq!(told(&mut out), ["b gone", "c 110"]);
}

#[test]
fn conditions_that_are_not_stated_have_their_documented_meaning() {
    let table = [
        (json!({}), [true, true, false]),
        (json!({"ready": false}), [false, false, false]),
        (json!({"ready": false, "serving": true, "terminating": true}), [false, true, true]),
    ];
    for (conditions, [ready, serving, terminating]) in table {
        let slice = slice("s", &[json!({"addresses": ["10.0.0.1"], "conditions": conditions})]);
        let seen = &endpoints_seen(&slice)[0];
        assert_eq!((seen.ready, seen.serving, seen.terminating), (ready, serving, terminating), "{conditions}");
        assert_eq!(seen.pod, "10.0.0.1");
    }
}

#[test]
fn a_slice_of_no_service_and_an_endpoint_without_an_address_say_nothing() {
    let mut of_none = slice("s", &[endpoint("a", "10.0.0.1", READY)]);
    of_none.metadata.labels = None;
    assert_eq!(endpoints_seen(&of_none), []);
    assert_eq!(endpoints_seen(&slice("s", &[json!({"addresses": []})])), []);
}
