//! Which pods a `ReplicaSet` deletes first.
//!
//! `ActivePodsWithRanks` and `logarithmicRankDiff` of `k/pkg/controller/controller_utils.go`, v1.34.4, with
//! `PodDeletionCost` and `LogarithmicScaleDown` on, as they are by default.

use jiff::Timestamp;

/// What the order of deletion asks of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The node it is bound to; empty where it is bound to none.
    pub node: String,
    /// Its phase.
    pub phase: String,
    /// It is ready.
    pub ready: bool,
    /// Since when it has been ready.
    pub ready_since: Option<Timestamp>,
    /// Its annotation `controller.kubernetes.io/pod-deletion-cost`, zero where it has none.
    pub cost: i32,
    /// Active pods of the same owner's owner on its node.
    pub neighbours: usize,
    /// The highest count of restarts among its containers.
    pub restarts: i32,
    /// The highest count of restarts among its sidecars.
    pub sidecar_restarts: i32,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its uid, which decides between pods of about the same age.
    pub uid: String,
}

/// The deletion cost in an annotation: a whole number of 32 bits without a plus sign or leading zeros; anything else
/// counts as zero, as in `GetDeletionCostFromPodAnnotations`.
#[must_use]
pub fn deletion_cost(annotation: Option<&str>) -> i32 {
    let Some(text) = annotation else { return 0 };
    let canonical =
        text == "0" || text.strip_prefix('-').unwrap_or(text).starts_with(|first: char| matches!(first, '1'..='9'));
    if canonical { text.parse().unwrap_or(0) } else { 0 }
}

/// The places of the `count` candidates to delete, in the order of their deletion. Where all have to go they go as
/// they come.
#[must_use]
pub fn to_delete(candidates: &[Candidate], count: usize, now: Timestamp) -> Vec<usize> {
    if count >= candidates.len() {
        return (0..candidates.len()).collect();
    }
    // Upstream's comparison is not transitive (equal times go on to the restarts, times in one bucket to the uid), which
    // the standard library's sorts may answer with a panic; a binary insertion takes any answers.
    let mut order: Vec<usize> = Vec::with_capacity(candidates.len());
    for (at, candidate) in candidates.iter().enumerate() {
        let place = order.partition_point(|other| !goes_before(candidate, &candidates[*other], now));
        order.insert(place, at);
    }
    order.truncate(count);
    order
}

/// Whether `one` is deleted before `other`.
#[must_use]
pub fn goes_before(one: &Candidate, other: &Candidate, now: Timestamp) -> bool {
    if one.node.is_empty() != other.node.is_empty() {
        return one.node.is_empty();
    }
    let phases = (phase_rank(&one.phase), phase_rank(&other.phase));
    if phases.0 != phases.1 {
        return phases.0 < phases.1;
    }
    if one.ready != other.ready {
        return !one.ready;
    }
    if one.cost != other.cost {
        return one.cost < other.cost;
    }
    if one.neighbours != other.neighbours {
        return one.neighbours > other.neighbours;
    }
    if one.ready && other.ready && one.ready_since != other.ready_since {
        return is_younger(one.ready_since, other.ready_since, one, other, now);
    }
    if one.restarts != other.restarts {
        return one.restarts > other.restarts;
    }
    if one.sidecar_restarts != other.sidecar_restarts {
        return one.sidecar_restarts > other.sidecar_restarts;
    }
    one.created != other.created && is_younger(one.created, other.created, one, other, now)
}

fn phase_rank(phase: &str) -> u8 {
    match phase {
        "Unknown" => 1,
        "Running" => 2,
        // Upstream's table has no other phases either: what is not in it counts as zero.
        _ => 0,
    }
}

/// Of two different times the later one, but for ages of the same power of two, between which the uid decides.
fn is_younger(
    one_since: Option<Timestamp>,
    other_since: Option<Timestamp>,
    one: &Candidate,
    other: &Candidate,
    now: Timestamp,
) -> bool {
    let (Some(one_since), Some(other_since)) = (one_since, other_since) else { return one_since.is_none() };
    let ranks = (age_rank(one_since, now), age_rank(other_since, now));
    if ranks.0 == ranks.1 { one.uid < other.uid } else { ranks.0 < ranks.1 }
}

/// The binary logarithm of an age in nanoseconds, rounded down; −1 for what is not in the past.
fn age_rank(since: Timestamp, now: Timestamp) -> i64 {
    match u128::try_from(now.duration_since(since).as_nanos()) {
        Ok(nanos) if nanos > 0 => i64::from(nanos.ilog2()),
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn ago(seconds: i64) -> Timestamp {
        now() - SignedDuration::from_secs(seconds)
    }

    /// A pod that has been running and ready for an hour.
    fn settled() -> Candidate {
        Candidate {
            node: "n1".into(),
            phase: "Running".into(),
            ready: true,
            ready_since: Some(ago(3600)),
            created: Some(ago(3600)),
            uid: "m".into(),
            ..Candidate::default()
        }
    }

    #[test]
    fn each_criterion_decides_before_all_later_ones() {
        // In each row the first goes before the second, although every later criterion says the opposite.
        let table: [(&str, Candidate, Candidate); 9] = [
            (
                "unassigned",
                Candidate { node: String::new(), ..settled() },
                Candidate { phase: "Pending".into(), ready: false, cost: -5, ..settled() },
            ),
            (
                "pending before unknown",
                Candidate { phase: "Pending".into(), ..settled() },
                Candidate { phase: "Unknown".into(), ready: false, cost: -5, ..settled() },
            ),
            (
                "unknown before running",
                Candidate { phase: "Unknown".into(), ..settled() },
                Candidate { ready: false, cost: -5, ..settled() },
            ),
            ("not ready", Candidate { ready: false, cost: 9, ..settled() }, Candidate { neighbours: 7, ..settled() }),
            (
                "lower cost",
                Candidate { cost: 1, ..settled() },
                Candidate { cost: 2, neighbours: 7, ready_since: Some(ago(1)), restarts: 9, ..settled() },
            ),
            (
                "more neighbours",
                Candidate { neighbours: 2, ..settled() },
                Candidate { neighbours: 1, ready_since: Some(ago(1)), restarts: 9, ..settled() },
            ),
            (
                "ready for less time",
                Candidate { ready_since: Some(ago(10)), ..settled() },
                Candidate { restarts: 9, created: Some(ago(1)), ..settled() },
            ),
            (
                "more restarts",
                Candidate { restarts: 2, ..settled() },
                Candidate { restarts: 1, sidecar_restarts: 9, created: Some(ago(1)), ..settled() },
            ),
            (
                "newer",
                Candidate { created: Some(ago(10)), uid: "z".into(), ..settled() },
                Candidate { uid: "a".into(), ..settled() },
            ),
        ];
        for (what, first, second) in table {
            assert!(goes_before(&first, &second, now()), "{what}");
            assert!(!goes_before(&second, &first, now()), "{what}, the other way round");
        }
    }

    #[test]
    fn ages_of_one_power_of_two_are_told_apart_by_uid() {
        let table = [
            // 3000 s and 4000 s are both 2^41 ns and something; 5000 s is 2^42.
            (3000, "b", 4000, "a", false),
            (3000, "a", 4000, "b", true),
            (4000, "b", 5000, "a", true),
            (5000, "a", 4000, "b", false),
        ];
        for (one_age, one_uid, other_age, other_uid, first) in table {
            let one = Candidate { ready_since: Some(ago(one_age)), uid: one_uid.into(), ..settled() };
            let other = Candidate { ready_since: Some(ago(other_age)), uid: other_uid.into(), ..settled() };
            assert_eq!(goes_before(&one, &other, now()), first, "{one_age} {one_uid} {other_age} {other_uid}");
        }
    }

    #[test]
    fn a_pod_whose_times_are_missing_or_ahead_goes_first() {
        let missing = Candidate { ready_since: None, uid: "z".into(), ..settled() };
        let ahead = Candidate { ready_since: Some(ago(-60)), uid: "z".into(), ..settled() };
        for first in [missing, ahead] {
            assert!(goes_before(&first, &settled(), now()));
            assert!(!goes_before(&settled(), &first, now()));
        }
    }

    #[test]
    fn as_many_go_as_are_asked_for_and_all_go_as_they_come() {
        let pods = [settled(), Candidate { cost: -1, ..settled() }, Candidate { ready: false, ..settled() }];
        assert_eq!(to_delete(&pods, 2, now()), [2, 1]);
        assert_eq!(to_delete(&pods, 0, now()), Vec::<usize>::new());
        assert_eq!(to_delete(&pods, 3, now()), [0, 1, 2]);
        assert_eq!(to_delete(&pods, 9, now()), [0, 1, 2]);
    }

    #[test]
    fn a_circle_of_comparisons_is_taken() {
        // a before b by restarts (same time), b before c by uid, c before a by uid.
        let a = Candidate { restarts: 1, uid: "3".into(), ready_since: Some(ago(3000)), ..settled() };
        let b = Candidate { uid: "1".into(), ready_since: Some(ago(3000)), ..settled() };
        let c = Candidate { uid: "2".into(), ready_since: Some(ago(3100)), ..settled() };
        let circle = [(&a, &b), (&b, &c), (&c, &a)];
        assert!(circle.iter().all(|(one, other)| goes_before(one, other, now())));
        let many: Vec<Candidate> = [a, b, c].into_iter().cycle().take(100).collect();
        let mut order = to_delete(&many, 99, now());
        order.sort_unstable();
        order.dedup();
        assert_eq!(order.len(), 99);
    }

    #[test]
    fn a_cost_that_is_not_written_plainly_is_none() {
        let table = [
            (None, 0),
            (Some("0"), 0),
            (Some("7"), 7),
            (Some("-3"), -3),
            (Some("+3"), 0),
            (Some("007"), 0),
            (Some("-0"), 0),
            (Some("x"), 0),
            (Some("2147483648"), 0),
            (Some("-2147483648"), i32::MIN),
        ];
        for (annotation, cost) in table {
            assert_eq!(deletion_cost(annotation), cost, "{annotation:?}");
        }
    }
}
