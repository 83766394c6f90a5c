//! How endpoints are spread over slices of at most a hundred (`reconcileByPortMapping` and `finalize` of
//! endpointslice/reconciler.go, v0.34.4): what is there stays in its slice, what is new goes to slices that change
//! anyway, then to one that has room for all of it, then to new ones.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};

/// Endpoints in a slice, at most (`--max-endpoints-per-slice`).
const ENDPOINTS_MAX: usize = 100;

/// The ports of a slice, in an order of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ports(Vec<EndpointPort>);

impl Ports {
    pub(super) fn of(mut ports: Vec<EndpointPort>) -> Self {
        ports.sort_by(|one, other| key(one).cmp(&key(other)));
        Self(ports)
    }

    pub(super) fn list(&self) -> &[EndpointPort] {
        &self.0
    }

    fn keys(&self) -> Vec<PortKey<'_>> {
        self.0.iter().map(key).collect()
    }
}

type PortKey<'a> = (Option<&'a str>, Option<i32>, Option<&'a str>, Option<&'a str>);

fn key(port: &EndpointPort) -> PortKey<'_> {
    (port.name.as_deref(), port.port, port.protocol.as_deref(), port.app_protocol.as_deref())
}

impl Eq for Ports {}

impl PartialOrd for Ports {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ports {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.keys().cmp(&other.keys())
    }
}

/// A slice as it is, or is to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice {
    /// Its name; empty where it is new.
    pub(super) name: String,
    pub(super) ports: Ports,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) create: Vec<Slice>,
    pub(super) update: Vec<Slice>,
    pub(super) delete: Vec<String>,
}

/// What an endpoint is recognised by (`hashEndpoint`): its addresses and what it stands for.
fn identity(endpoint: &Endpoint) -> (Vec<String>, Option<String>, Option<String>) {
    let target = endpoint.target_ref.as_ref();
    (
        endpoint.addresses.clone(),
        target.and_then(|target| target.uid.clone()),
        target.and_then(|target| target.name.clone()),
    )
}

/// Spreads the wanted endpoints, by their ports, over the slices there are.
pub(super) fn plan(existing: Vec<Slice>, mut wanted: BTreeMap<Ports, Vec<Endpoint>>) -> Plan {
    let mut by_ports: BTreeMap<Ports, Vec<Slice>> = BTreeMap::new();
    for slice in existing {
        by_ports.entry(slice.ports.clone()).or_default().push(slice);
    }
    if wanted.is_empty() {
        // A Service without endpoints has one slice that says so, without ports.
        wanted.insert(Ports::default(), Vec::new());
    }
    let mut plan = Plan::default();
    let placeholder = wanted.values().all(Vec::is_empty);
    for (ports, endpoints) in wanted {
        let slices = by_ports.remove(&ports).unwrap_or_default();
        if placeholder {
            keep_placeholder(&mut plan, slices, ports);
        } else {
            pack(&mut plan, slices, &ports, endpoints);
        }
    }
    plan.delete.extend(by_ports.into_values().flatten().map(|slice| slice.name));
    finish(plan)
}

fn keep_placeholder(plan: &mut Plan, slices: Vec<Slice>, ports: Ports) {
    let mut slices = slices.into_iter();
    match slices.next() {
        None => plan.create.push(Slice { name: String::new(), ports, endpoints: Vec::new() }),
        Some(slice) if slice.endpoints.is_empty() => {}
        Some(slice) => plan.update.push(Slice { endpoints: Vec::new(), ..slice }),
    }
    plan.delete.extend(slices.map(|slice| slice.name));
}

fn pack(plan: &mut Plan, slices: Vec<Slice>, ports: &Ports, endpoints: Vec<Endpoint>) {
    let mut wanted: Vec<Option<Endpoint>> = endpoints.into_iter().map(Some).collect();
    let index: std::collections::HashMap<_, usize> = wanted
        .iter()
        .enumerate()
        .filter_map(|(at, endpoint)| endpoint.as_ref().map(|endpoint| (identity(endpoint), at)))
        .collect();
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for slice in slices {
        let mut kept = Vec::new();
        for endpoint in &slice.endpoints {
            let found = index.get(&identity(endpoint)).and_then(|at| wanted[*at].take());
            kept.extend(found);
        }
        if kept.is_empty() {
            plan.delete.push(slice.name);
        } else if kept == slice.endpoints {
            unchanged.push(slice);
        } else {
            changed.push(Slice { endpoints: kept, ..slice });
        }
    }
    let mut left: Vec<Endpoint> = wanted.into_iter().flatten().collect();
    if changed.is_empty() && !left.is_empty() {
        // One more write is better than one more slice, if everything fits.
        let room = unchanged.iter().enumerate().filter(|(_, slice)| fits(slice, left.len()));
        if let Some((at, _)) = room.max_by_key(|(_, slice)| slice.endpoints.len()) {
            changed.push(unchanged.remove(at));
        }
    }
    while !left.is_empty() {
        // The fullest that has room for all; else the fullest that has any.
        let most = left.len().min(ENDPOINTS_MAX);
        let room = |fit: usize| {
            let all = changed.iter().enumerate().filter(move |(_, slice): &(usize, &Slice)| fits(slice, fit));
            all.max_by_key(|(_, slice)| slice.endpoints.len()).map(|(at, _)| at)
        };
        let at = room(most).or_else(|| room(1)).unwrap_or_else(|| {
            changed.push(Slice { name: String::new(), ports: ports.clone(), endpoints: Vec::new() });
            changed.len() - 1
        });
        let free = ENDPOINTS_MAX - changed[at].endpoints.len();
        let take = left.len().min(free);
        changed[at].endpoints.extend(left.drain(..take));
    }
    let (new, old): (Vec<Slice>, Vec<Slice>) = changed.into_iter().partition(|slice| slice.name.is_empty());
    plan.create.extend(new);
    plan.update.extend(old);
}

fn fits(slice: &Slice, more: usize) -> bool {
    slice.endpoints.len() + more <= ENDPOINTS_MAX
}

/// A slice that would go and one that would come are one that changes.
fn finish(mut plan: Plan) -> Plan {
    while let (Some(_), Some(_)) = (plan.delete.last(), plan.create.last()) {
        if let (Some(name), Some(slice)) = (plan.delete.pop(), plan.create.pop()) {
            plan.update.push(Slice { name, ..slice });
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(number: usize) -> Endpoint {
        Endpoint { addresses: vec![format!("10.0.{}.{}", number / 256, number % 256)], ..Endpoint::default() }
    }

    fn endpoints(range: std::ops::Range<usize>) -> Vec<Endpoint> {
        range.map(endpoint).collect()
    }

    fn ports(number: i32) -> Ports {
        Ports::of(vec![EndpointPort { port: Some(number), ..EndpointPort::default() }])
    }

    fn slice(name: &str, range: std::ops::Range<usize>) -> Slice {
        Slice { name: name.into(), ports: ports(80), endpoints: endpoints(range) }
    }

    fn wanted(range: std::ops::Range<usize>) -> BTreeMap<Ports, Vec<Endpoint>> {
        BTreeMap::from([(ports(80), endpoints(range))])
    }

    fn sizes(slices: &[Slice]) -> Vec<(&str, usize)> {
        slices.iter().map(|slice| (slice.name.as_str(), slice.endpoints.len())).collect()
    }

    #[test]
    fn endpoints_fill_new_slices_of_a_hundred() {
        let plan = plan(Vec::new(), wanted(0..250));
        assert_eq!(sizes(&plan.create), [("", 100), ("", 100), ("", 50)]);
        assert!(plan.update.is_empty() && plan.delete.is_empty());
    }

    #[test]
    fn what_is_there_stays_and_what_is_new_goes_where_it_fits() {
        let existing = vec![slice("a", 0..60), slice("b", 60..90)];
        let plan = plan(existing, wanted(0..100));
        assert_eq!((sizes(&plan.update), plan.create.len(), plan.delete.len()), (vec![("a", 70)], 0, 0));
        let unchanged = super::plan(vec![slice("a", 0..60)], wanted(0..60));
        assert_eq!(unchanged, Plan::default());
    }

    #[test]
    fn a_slice_that_changes_anyway_is_filled_first() {
        let existing = vec![slice("a", 0..99), slice("b", 100..110)];
        let plan = plan(existing, BTreeMap::from([(ports(80), [endpoints(0..99), endpoints(101..115)].concat())]));
        assert_eq!(sizes(&plan.update), [("b", 14)]);
    }

    #[test]
    fn no_endpoint_leaves_one_empty_slice_without_ports() {
        let plan = plan(vec![slice("a", 0..3), slice("b", 3..4)], BTreeMap::new());
        assert_eq!(sizes(&plan.update), [("b", 0)]);
        assert!(plan.update[0].ports.list().is_empty());
        assert_eq!(plan.delete, ["a"]);
        let empty = Slice { name: "a".into(), ports: Ports::default(), endpoints: Vec::new() };
        assert_eq!(super::plan(vec![empty], BTreeMap::new()), Plan::default());
    }

    #[test]
    fn pods_with_other_ports_have_slices_of_their_own() {
        let both = BTreeMap::from([(ports(80), endpoints(0..1)), (ports(81), endpoints(1..2))]);
        let plan = plan(vec![slice("a", 0..2)], both);
        assert_eq!(sizes(&plan.update), [("a", 1)]);
        assert_eq!(sizes(&plan.create), [("", 1)]);
    }
}
