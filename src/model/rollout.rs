//! Rolling updates: how many pods may be too many or missing.
//!
//! `ResolveFenceposts` of `k/pkg/controller/deployment/util/deployment_util.go` and `k/pkg/controller/daemon/update.go`,
//! both v1.34.4. When an update is complete is `cluster::rollout`, which reads the objects themselves.

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
}
