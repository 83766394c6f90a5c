use std::sync::Mutex as StdMutex;

use serde_json::{Value, json};

use super::*;
use crate::fault::scripted::{Call, failure, not_found, server};

/// An API server that has one Lease, with versions that must agree, and may answer otherwise first.
#[derive(Clone, Default)]
struct Shelf(Arc<StdMutex<(Option<Value>, u64)>>);

impl Shelf {
    fn answer(&self, call: &Call) -> (u16, Value) {
        let mut shelf = self.0.lock().unwrap();
        let conflict = || failure(409, "conflict", &[]);
        let put = |shelf: &mut (Option<Value>, u64), mut lease: Value| {
            shelf.1 += 1;
            lease["metadata"]["resourceVersion"] = json!(shelf.1.to_string());
            lease["metadata"]["uid"] = json!("u");
            shelf.0 = Some(lease.clone());
            (200, lease)
        };
        match (call.method.as_str(), shelf.0.clone()) {
            ("POST", Some(_)) => conflict(),
            ("POST", None) => put(&mut shelf, call.body.clone()),
            (_, None) => not_found(),
            ("GET", Some(now)) => (200, now),
            ("PUT", Some(now)) if now["metadata"]["resourceVersion"] != call.body["metadata"]["resourceVersion"] => {
                conflict()
            }
            ("PUT", Some(_)) => put(&mut shelf, call.body.clone()),
            ("DELETE", Some(now)) => {
                shelf.0 = None;
                (200, now)
            }
            _ => failure(405, "no", &[]),
        }
    }

    fn client(&self) -> Client {
        let shelf = self.clone();
        server(move |call| shelf.answer(call)).0
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut shelf = self.0.lock().unwrap();
        shelf.1 += 1;
        let version = shelf.1.to_string();
        let lease = shelf.0.as_mut().unwrap();
        change(lease);
        lease["metadata"]["resourceVersion"] = json!(version);
    }

    fn lease(&self) -> Option<Value> {
        self.0.lock().unwrap().0.clone()
    }
}

fn uncordon(node: &str) -> Undo {
    Undo::Uncordon { node: node.to_owned() }
}

async fn take(shelf: &Shelf, run: &str) -> Result<Arc<Hold>, HoldError> {
    Hold::take(&shelf.client(), run, "kind:a").await
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_undone_stands_in_the_lease_and_leaves_it_when_it_has_been() {
    let shelf = Shelf::default();
    let hold = take(&shelf, "r1").await.unwrap();
    hold.add(&uncordon("a")).await.unwrap();
    let left = look(&shelf.client()).await.unwrap().unwrap();
    assert_eq!((left.slip.run.as_str(), left.slip.due.as_slice()), ("r1", &[uncordon("a")][..]));
    assert!(hold.release().await.unwrap_err().contains("uncordon node/a"));
    assert!(shelf.lease().is_some());
    hold.remove(&uncordon("a")).await.unwrap();
    hold.release().await.unwrap();
    assert_eq!(shelf.lease(), None);
}

#[tokio::test(start_paused = true)]
async fn a_second_run_is_told_who_is_at_work_and_one_after_a_crash_how_to_go_on() {
    let shelf = Shelf::default();
    let first = take(&shelf, "r1").await.unwrap();
    first.about("b1").await;
    first.add(&uncordon("a")).await.unwrap();
    let busy = take(&shelf, "r2").await.err().unwrap();
    assert!(matches!(busy, HoldError::Busy { .. }), "{busy}");
    let text = busy.to_string();
    assert!(text.contains("run r1") && text.contains("experiment \"b1\"") && text.contains("Ctrl-C"), "{text}");
    drop(first);
    shelf.change(|lease| lease["spec"]["renewTime"] = json!("2020-01-01T00:00:00.000000Z"));
    let text = take(&shelf, "r2").await.err().unwrap().to_string();
    assert!(text.contains("evenkeel recover --on kind:a") && text.contains("uncordon node/a"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_over_changes_of_others_and_lost_to_another_holder() {
    let shelf = Shelf::default();
    let hold = take(&shelf, "r1").await.unwrap();
    let before = shelf.lease().unwrap()["metadata"]["resourceVersion"].clone();
    let until = hold.until();
    assert!(*until.borrow() <= Instant::now() + LASTS);
    tokio::time::sleep(RENEW_EVERY * 2).await;
    assert_ne!(shelf.lease().unwrap()["metadata"]["resourceVersion"], before);
    assert!(*until.borrow() >= Instant::now() + LASTS - RENEW_EVERY, "it holds for longer with each renewal");
    shelf.change(|lease| lease["metadata"]["labels"]["x"] = json!("y"));
    hold.add(&uncordon("a")).await.unwrap();
    assert_eq!(shelf.lease().unwrap()["metadata"]["labels"]["x"], "y");
    shelf.change(|lease| lease["spec"]["holderIdentity"] = json!("another"));
    let error = hold.add(&uncordon("b")).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Lost { by } if by == "another"), "{error}");
    assert_eq!(hold.lost().await, "another");
    tokio::time::sleep(LASTS).await;
    assert!(*until.borrow() <= Instant::now(), "what stood under it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_removed_is_made_again_with_all_that_is_due() {
    let shelf = Shelf::default();
    let hold = take(&shelf, "r1").await.unwrap();
    hold.add(&uncordon("a")).await.unwrap();
    shelf.0.lock().unwrap().0 = None;
    hold.add(&uncordon("b")).await.unwrap();
    let left = look(&shelf.client()).await.unwrap().unwrap();
    assert_eq!(left.slip.due, [uncordon("a"), uncordon("b")]);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_renews_is_not_over_and_one_that_does_not_is_even_if_the_calendars_differ() {
    let shelf = Shelf::default();
    let hold = take(&shelf, "r1").await.unwrap();
    // The other machine's calendar is ten minutes behind ours.
    shelf.change(|lease| lease["spec"]["renewTime"] = json!("2020-01-01T00:00:00.000000Z"));
    let left = look(&shelf.client()).await.unwrap().unwrap();
    assert!(left.is_over(&shelf.client(), "kind:a").await.is_err());
    drop(hold);
    let left = look(&shelf.client()).await.unwrap().unwrap();
    let begun = Instant::now();
    assert!(left.is_over(&shelf.client(), "kind:a").await.unwrap().is_some());
    assert!(begun.elapsed().as_secs() >= 30, "a fresh renewal is waited out");
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_cannot_take_keeps_the_act_from_taking_place() {
    let shelf = Shelf::default();
    let inner = shelf.clone();
    let (client, _) = server(move |call| match call.method.as_str() {
        "PUT" => failure(503, "away", &[]),
        _ => inner.answer(call),
    });
    let hold = Hold::take(&client, "r1", "kind:a").await.unwrap();
    let begun = Instant::now();
    assert!(matches!(hold.add(&uncordon("a")).await, Err(LedgerError::Cluster(_))));
    assert!(begun.elapsed() >= WRITTEN_WITHIN);
    hold.release().await.unwrap();
    let hold = take(&shelf, "r1").await.unwrap();
    // A few names as long as many would be.
    let name = "n".repeat(20_000);
    let many = (0..20).map(|number| uncordon(&format!("{name}{number}")));
    let mut refused = None;
    for undo in many {
        if let Err(error) = hold.add(&undo).await {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(LedgerError::Full)));
}
