//! What the store keeps, and what readers are told of it.

use serde_json::json;

use super::*;
use crate::sandbox::kinds;

fn put(store: &Store, name: &str, data: usize) -> u64 {
    let value = json!({"metadata": {"name": name, "namespace": "shop"}, "data": {"x": data.to_string()}});
    let written = store.write::<()>(&kinds::CONFIG_MAP, "shop", name, |_| Ok(Wanted::Put(value))).unwrap();
    written.unwrap().version
}

#[test]
fn a_reader_gets_all_that_came_after_its_version_however_far_behind_it_is() {
    let store = Store::new(kinds::ALL);
    // More than are looked at one by one; other kinds take versions in between.
    let mut versions = Vec::new();
    for round in 0..3 * NEAR {
        versions.push(put(&store, "a", round));
        if round % 3 == 0 {
            let secret = json!({"metadata": {"name": "s", "namespace": "shop"}, "data": {"x": round}});
            store.write::<()>(&kinds::SECRET, "shop", "s", |_| Ok(Wanted::Put(secret))).unwrap();
        }
    }
    for since in 0..=store.version() {
        let wanted: Vec<u64> = versions.iter().copied().filter(|version| *version > since).collect();
        let found = store.changes(&kinds::CONFIG_MAP, since, usize::MAX).unwrap();
        let found: Vec<u64> = found.iter().map(|change| change.object.version).collect();
        assert_eq!(found, wanted, "since {since}");
        let two = store.changes(&kinds::CONFIG_MAP, since, 2).unwrap();
        assert_eq!(two.len(), wanted.len().min(2), "since {since}");
    }
}

#[test]
fn a_reader_that_is_further_behind_than_changes_are_kept_is_told() {
    let store = Store::new(kinds::ALL);
    let first = put(&store, "a", 0);
    for round in 0..LOG_MAX {
        put(&store, "a", round);
    }
    assert_eq!(store.changes(&kinds::CONFIG_MAP, first - 1, 1).unwrap_err().asked, first - 1);
    assert_eq!(store.changes(&kinds::CONFIG_MAP, first, 1).unwrap().len(), 1);
}

#[test]
fn what_is_kept_keeps_its_version_and_what_is_gone_is_told_under_a_new_one() {
    let store = Store::new(kinds::ALL);
    let made = put(&store, "a", 0);
    let write = |wanted| store.write::<()>(&kinds::CONFIG_MAP, "shop", "a", |_| Ok(wanted)).unwrap();
    assert_eq!((write(Wanted::Keep).map(|kept| kept.version), store.version()), (Some(made), made));
    let gone = write(Wanted::Gone).unwrap();
    assert_eq!((gone.version, store.get(&kinds::CONFIG_MAP, "shop", "a").is_none()), (made + 1, true));
    assert!(write(Wanted::Gone).is_none());
    assert!(write(Wanted::Keep).is_none());
    let told: Vec<Op> = store.changes(&kinds::CONFIG_MAP, 0, 9).unwrap().iter().map(|change| change.op).collect();
    assert_eq!(told, [Op::Added, Op::Deleted]);
}
