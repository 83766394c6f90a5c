//! Rolling updates: how many pods may be too many or missing.
//!
//! `ResolveFenceposts` of `k/pkg/controller/deployment/util/deployment_util.go` and `k/pkg/controller/daemon/update.go`,
//! both v1.34.4. When an update is complete is `cluster::rollout`, which reads the objects themselves.
//! A rollout's steps are those of k/pkg/controller/deployment/{rolling,sync}.go and `util/deployment_util.go`.

use super::int_or_percent::{IntOrPercent, Round};

/// `maxSurge` and `maxUnavailable` of a Deployment that sets none (k/pkg/apis/apps/v1/defaults.go).
pub const DEFAULT_FENCEPOST: IntOrPercent = IntOrPercent::Percent(25);

/// The bounds of a rolling update, in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenceposts {
    /// So many more than asked for.
    pub surge: i32,
    /// So many fewer available than asked for.
    pub unavailable: i32,
}

/// The bounds of a Deployment's rolling update: surge rounds up, unavailable rounds down, and where that leaves both
/// at zero one may be unavailable, since nothing could move otherwise.
#[must_use]
pub fn fenceposts(replicas: i32, surge: Option<IntOrPercent>, unavailable: Option<IntOrPercent>) -> Fenceposts {
    let surge = surge.unwrap_or(DEFAULT_FENCEPOST).of(replicas, Round::Up);
    let unavailable = unavailable.unwrap_or(DEFAULT_FENCEPOST).of(replicas, Round::Down);
    if surge == 0 && unavailable == 0 {
        return Fenceposts { surge, unavailable: 1 };
    }
    Fenceposts { surge, unavailable }
}

/// The bounds of a `DaemonSet`'s rolling update over so many nodes: one unavailable and no surge where nothing is set,
/// and both percentages round up.
#[must_use]
pub fn daemon_set_fenceposts(nodes: i32, surge: Option<IntOrPercent>, unavailable: Option<IntOrPercent>) -> Fenceposts {
    let surge = surge.unwrap_or(IntOrPercent::Int(0)).of(nodes, Round::Up);
    let unavailable = unavailable.unwrap_or(IntOrPercent::Int(1)).of(nodes, Round::Up);
    if surge == 0 && unavailable == 0 {
        return Fenceposts { surge, unavailable: 1 };
    }
    Fenceposts { surge, unavailable }
}

/// One `ReplicaSet` of a Deployment, in pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetSize {
    /// `spec.replicas`.
    pub wanted: i32,
    /// `status.availableReplicas`.
    pub available: i32,
}

/// The bounds that a rollout keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `spec.replicas` of the Deployment.
    pub replicas: i32,
    /// So many more at most (`MaxSurge`).
    pub surge: i32,
    /// So many fewer available at most (`MaxUnavailable`: never more than there are replicas).
    pub unavailable: i32,
}

impl Bounds {
    /// The bounds of a rolling update.
    #[must_use]
    pub fn rolling(replicas: i32, surge: Option<IntOrPercent>, unavailable: Option<IntOrPercent>) -> Self {
        let Fenceposts { surge, unavailable } = fenceposts(replicas, surge, unavailable);
        Self { replicas, surge, unavailable: unavailable.min(replicas) }
    }

    /// The bounds of `Recreate`, where nothing overlaps and nothing is promised.
    #[must_use]
    pub const fn recreate(replicas: i32) -> Self {
        Self { replicas, surge: 0, unavailable: 0 }
    }

    /// The pods that have to stay available.
    #[must_use]
    pub const fn min_available(self) -> i32 {
        self.replicas.saturating_sub(self.unavailable)
    }

    /// The pods that there may be.
    #[must_use]
    pub const fn max_total(self) -> i32 {
        self.replicas.saturating_add(self.surge)
    }
}

/// How large the new `ReplicaSet` of a rolling update may be, with so many pods wanted of all sets together
/// (`NewRSNewReplicas`, and `reconcileNewReplicaSet` where it is too large).
#[must_use]
pub fn new_set_size(bounds: Bounds, new: i32, total: i32) -> i32 {
    if new >= bounds.replicas {
        return bounds.replicas;
    }
    let room = bounds.max_total().saturating_sub(total);
    if room <= 0 {
        return new;
    }
    new + room.min(bounds.replicas - new)
}

/// How the old `ReplicaSets` of a rolling update shrink: steps of a set's place and its new size, in order; the same set
/// may come twice. First their unavailable pods go, then available ones as far as the bounds leave it
/// (`reconcileOldReplicaSets`). `old` is ordered by age, oldest first, and holds the sets that are not empty.
#[must_use]
pub fn shrink_old_sets(bounds: Bounds, new: SetSize, old: &[SetSize]) -> Vec<(usize, i32)> {
    let total = old.iter().fold(new.wanted, |sum, set| sum.saturating_add(set.wanted));
    let new_unavailable = new.wanted - new.available;
    let most = total.saturating_sub(bounds.min_available()).saturating_sub(new_unavailable);
    if most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(|set| set.wanted).collect();
    let mut steps = Vec::new();
    let mut cleaned = 0;
    for (at, set) in old.iter().enumerate() {
        if cleaned >= most {
            break;
        }
        let unhealthy = set.wanted - set.available;
        if unhealthy < 0 {
            // The set is still shrinking, and pods that are about to go count as available: upstream waits.
            return steps;
        }
        let count = unhealthy.min(most - cleaned);
        if count > 0 {
            sizes[at] -= count;
            steps.push((at, sizes[at]));
            cleaned += count;
        }
    }
    let available = old.iter().fold(new.available, |sum, set| sum.saturating_add(set.available));
    let mut spare = available.saturating_sub(bounds.min_available());
    for (at, size) in sizes.into_iter().enumerate() {
        let count = size.min(spare);
        if count > 0 {
            steps.push((at, size - count));
            spare -= count;
        }
    }
    steps
}

/// A set as proportional scaling sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// `spec.replicas`.
    pub wanted: i32,
    /// The most that there were to be of all sets together when it got this size: its annotation `max-replicas`.
    pub max_before: Option<i32>,
}

/// The sizes of `ReplicaSets` in the middle of a rollout after the Deployment has been scaled: what is added or taken
/// away is spread in proportion, what is left over goes to the first (`scale`). `sets` is ordered by size, the largest
/// first; of equal ones the newer first to grow and the older first to shrink. `running` is the Deployment's
/// `status.replicas`.
#[must_use]
pub fn proportional_sizes(bounds: Bounds, running: i32, sets: &[Share]) -> Vec<i32> {
    let total = sets.iter().fold(0_i32, |sum, set| sum.saturating_add(set.wanted));
    let allowed = if bounds.replicas > 0 { bounds.max_total() } else { 0 };
    let to_add = allowed - total;
    let mut sizes: Vec<i32> = sets.iter().map(|set| set.wanted).collect();
    if to_add == 0 {
        return sizes;
    }
    let mut added = 0;
    for (size, set) in sizes.iter_mut().zip(sets) {
        let step = proportion(bounds, running, *set, to_add, added);
        *size += step;
        added += step;
    }
    if let Some(first) = sizes.first_mut() {
        *first = first.saturating_add(to_add - added).max(0);
    }
    sizes
}

/// `GetReplicaSetProportion`.
fn proportion(bounds: Bounds, running: i32, set: Share, to_add: i32, added: i32) -> i32 {
    if set.wanted == 0 || to_add == added {
        return 0;
    }
    let fraction = fraction(bounds, running, set);
    let allowed = to_add - added;
    if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}

/// `getReplicaSetFraction`.
fn fraction(bounds: Bounds, running: i32, set: Share) -> i32 {
    if bounds.replicas == 0 {
        return -set.wanted;
    }
    let before = set.max_before.filter(|before| *before != 0).unwrap_or(running);
    if before == 0 {
        return 0;
    }
    let size = f64::from(set.wanted) * f64::from(bounds.max_total()) / f64::from(before);
    // Half a pod goes away from zero, as in `integer.RoundToInt32`; a cast beyond the range stays at its end.
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and clamped by the cast")]
    let size = size.round() as i32;
    size.saturating_sub(set.wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_few_pods_is_what_upstream_says() {
        let table = [(1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 1), (5, 2, 1), (8, 2, 2), (10, 3, 2)];
        for (replicas, surge, unavailable) in table {
            assert_eq!(fenceposts(replicas, None, None), Fenceposts { surge, unavailable }, "{replicas} replicas");
        }
    }

    #[test]
    fn a_rollout_that_could_not_move_may_miss_one() {
        let nothing = Some(IntOrPercent::Percent(0));
        let small = Some(IntOrPercent::Percent(10));
        assert_eq!(fenceposts(3, nothing, small), Fenceposts { surge: 0, unavailable: 1 });
        assert_eq!(daemon_set_fenceposts(3, None, None), Fenceposts { surge: 0, unavailable: 1 });
        assert_eq!(daemon_set_fenceposts(3, None, small).unavailable, 1);
        assert_eq!(fenceposts(3, None, Some(IntOrPercent::Percent(100))), Fenceposts { surge: 1, unavailable: 3 });
    }

    #[test]
    fn the_new_set_grows_by_what_is_left_to_the_bound() {
        let bounds = |replicas, surge| Bounds { replicas, surge, unavailable: 0 };
        // (replicas, surge, new, total) → size; the first rows are upstream's TestNewRSNewReplicas and
        // TestDeploymentController_reconcileNewReplicaSet.
        let table = [
            ((10, 2, 0, 10), 2),
            ((10, 2, 0, 12), 0),
            ((10, 2, 2, 12), 2),
            ((10, 2, 5, 10), 7),
            ((10, 0, 8, 8), 10),
            ((10, 3, 9, 9), 10),
            ((10, 3, 12, 12), 10),
            ((3, 1, 0, 3), 1),
            ((0, 1, 0, 3), 0),
        ];
        for ((replicas, surge, new, total), size) in table {
            assert_eq!(new_set_size(bounds(replicas, surge), new, total), size, "{replicas} {surge} {new} {total}");
        }
    }

    fn size(wanted: i32, available: i32) -> SetSize {
        SetSize { wanted, available }
    }

    #[test]
    fn old_sets_lose_their_unavailable_pods_first_and_the_oldest_its_available_ones() {
        type Row = (&'static str, Bounds, SetSize, Vec<SetSize>, Vec<(usize, i32)>);
        let bounds = |replicas, unavailable| Bounds { replicas, surge: 0, unavailable };
        let table: [Row; 9] = [
            ("nothing may go", bounds(10, 0), size(0, 0), vec![size(10, 10)], vec![]),
            ("two may be missing", bounds(10, 2), size(0, 0), vec![size(10, 10)], vec![(0, 8)]),
            (
                "new ones that are not available count as missing",
                bounds(10, 2),
                size(2, 0),
                vec![size(10, 10)],
                vec![(0, 8)],
            ),
            ("all the bound is used up", bounds(10, 2), size(4, 0), vec![size(8, 8)], vec![]),
            (
                "unhealthy ones go although no available one may",
                bounds(10, 2),
                size(0, 0),
                vec![size(10, 8)],
                vec![(0, 8)],
            ),
            (
                "unhealthy ones first, then the oldest",
                bounds(10, 2),
                size(5, 5),
                vec![size(4, 4), size(4, 2)],
                vec![(1, 2), (0, 1)],
            ),
            ("the same set twice", bounds(3, 1), size(1, 1), vec![size(3, 2)], vec![(0, 2), (0, 1)]),
            ("the cleanup is bounded too", bounds(10, 2), size(6, 0), vec![size(8, 0)], vec![]),
            ("one that is shrinking already", bounds(3, 1), size(2, 2), vec![size(1, 3)], vec![]),
        ];
        for (what, bounds, new, old, steps) in table {
            assert_eq!(shrink_old_sets(bounds, new, &old), steps, "{what}");
        }
    }

    #[test]
    fn a_scaled_deployment_spreads_the_difference_in_proportion() {
        let share = |wanted, max| Share { wanted, max_before: Some(max) };
        // (replicas, surge, sets) → sizes, from upstream's TestScale.
        let table: [(i32, i32, Vec<Share>, Vec<i32>); 9] = [
            (12, 0, vec![share(5, 10), share(5, 10)], vec![6, 6]),
            (20, 0, vec![share(5, 10), share(3, 10), share(2, 10)], vec![10, 6, 4]),
            (5, 0, vec![share(5, 10), share(5, 10)], vec![2, 3]),
            (4, 0, vec![share(5, 10), share(3, 10), share(2, 10)], vec![2, 1, 1]),
            (15, 0, vec![share(8, 10), share(2, 10)], vec![12, 3]),
            (0, 3, vec![share(7, 13), share(6, 13)], vec![0, 0]),
            (50, 5, vec![share(13, 20), share(7, 20)], vec![36, 19]),
            (1, 0, vec![share(5, 10), share(5, 10)], vec![0, 1]),
            (10, 0, vec![share(6, 10), share(4, 10)], vec![6, 4]),
        ];
        for (replicas, surge, sets, sizes) in table {
            let bounds = Bounds { replicas, surge, unavailable: 0 };
            let total: i32 = sets.iter().map(|set| set.wanted).sum();
            let got = proportional_sizes(bounds, total, &sets);
            assert_eq!(got, sizes, "{replicas}+{surge} over {sets:?}");
        }
    }

    #[test]
    fn proportions_add_up_to_the_bound_with_and_without_annotations() {
        for replicas in 0..12 {
            for (one, other) in [(0, 4), (3, 3), (7, 1), (9, 9)] {
                for max in [None, Some(0), Some(one + other)] {
                    let sets = [
                        Share { wanted: one.max(other), max_before: max },
                        Share { wanted: one.min(other), max_before: max },
                    ];
                    let bounds = Bounds { replicas, surge: 2, unavailable: 0 };
                    let allowed = if replicas == 0 { 0 } else { bounds.max_total() };
                    let sizes = proportional_sizes(bounds, one + other, &sets);
                    assert!(sizes.iter().all(|size| *size >= 0), "{sizes:?}");
                    assert_eq!(sizes.iter().sum::<i32>(), allowed, "{replicas} {sets:?} {sizes:?}");
                }
            }
        }
    }
}
