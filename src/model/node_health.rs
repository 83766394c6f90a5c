//! When zones of nodes count as broken, and how fast their nodes are then tainted: `ComputeZoneState` and the rates of
//! `k/pkg/controller/nodelifecycle/node_lifecycle_controller.go`, v1.34.4.

/// Nodes tainted a second in a healthy zone, or one that is down as a whole (`--node-eviction-rate`).
pub const RATE: f64 = 0.1;

/// Nodes tainted a second in a large zone that is partly down (`--secondary-node-eviction-rate`).
pub const RATE_SECONDARY: f64 = 0.01;

/// Nodes beyond which a zone is large (`--large-cluster-size-threshold`).
pub const LARGE_ZONE: usize = 50;

/// The share of nodes that makes a zone partly down (`--unhealthy-zone-threshold`), in percent.
const UNHEALTHY_PERCENT: usize = 55;

/// How a zone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneState {
    /// Most of it works.
    Normal,
    /// More than two nodes, and at least 55 %, are not ready.
    Partial,
    /// No node is ready.
    Full,
}

/// How a zone with so many ready nodes and so many others is.
#[must_use]
pub fn zone_state(ready: usize, not_ready: usize) -> ZoneState {
    if ready == 0 && not_ready > 0 {
        ZoneState::Full
    } else if not_ready > 2 && not_ready * 100 >= UNHEALTHY_PERCENT * (ready + not_ready) {
        ZoneState::Partial
    } else {
        ZoneState::Normal
    }
}

/// Nodes tainted a second in a zone of so many nodes; a small one that is partly down is left alone.
#[must_use]
pub fn tainting_rate(state: ZoneState, nodes: usize) -> f64 {
    match state {
        ZoneState::Normal | ZoneState::Full => RATE,
        ZoneState::Partial if nodes > LARGE_ZONE => RATE_SECONDARY,
        ZoneState::Partial => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn killing_most_nodes_of_a_small_zone_stops_the_tainting() {
        let table = [
            (0, 0, ZoneState::Normal, 0.1),
            (3, 0, ZoneState::Normal, 0.1),
            (2, 2, ZoneState::Normal, 0.1),
            (1, 2, ZoneState::Normal, 0.1),
            (0, 1, ZoneState::Full, 0.1),
            (0, 3, ZoneState::Full, 0.1),
            (2, 3, ZoneState::Partial, 0.0),
            (3, 3, ZoneState::Normal, 0.1),
            (9, 11, ZoneState::Partial, 0.0),
            (10, 11, ZoneState::Normal, 0.1),
            (20, 31, ZoneState::Partial, 0.01),
        ];
        for (ready, not_ready, state, rate) in table {
            assert_eq!(zone_state(ready, not_ready), state, "{ready} ready, {not_ready} not");
            assert!((tainting_rate(state, ready + not_ready) - rate).abs() < 1e-9, "{ready} ready, {not_ready} not");
        }
    }
}
