//! Endpoints: the `EndpointSlices` of a Service, merged, and what changed of each endpoint.
//!
//! A Service may have several slices, and an endpoint may stand in two of them while it moves; it is then as ready as
//! the readier of the two, which is how kube-proxy takes it (`k/pkg/proxy/endpointslicecache.go`).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::book::Book;
use crate::record::event::{EndpointSeen, What};

/// The label that says which Service a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The last recorded state of each endpoint, and the slices that it comes from.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    slices: BTreeMap<String, Vec<EndpointSeen>>,
    recorded: BTreeMap<Key, EndpointSeen>,
    listed: Option<BTreeMap<String, Vec<EndpointSeen>>>,
}

/// An endpoint's Service, pod and address.
type Key = (String, String, String);

impl Endpoints {
    /// Records what differs between the slices and what was recorded last, what is gone first.
    fn compare(&mut self, out: &mut Vec<What>) {
        let mut now: BTreeMap<Key, EndpointSeen> = BTreeMap::new();
        for seen in self.slices.values().flatten() {
            let key = (seen.service.clone(), seen.pod.clone(), seen.address.clone());
            now.entry(key).and_modify(|other| readier(other, seen)).or_insert_with(|| seen.clone());
        }
        let before: BTreeSet<Key> = self.recorded.keys().cloned().collect();
        for key in before.iter().filter(|key| !now.contains_key(*key)) {
            if let Some(seen) = self.recorded.remove(key) {
                out.push(What::Endpoint(EndpointSeen { ready: false, serving: false, gone: true, ..seen }));
            }
        }
        let changed = now.iter().filter(|(key, seen)| self.recorded.get(*key) != Some(seen));
        out.extend(changed.map(|(_, seen)| What::Endpoint(seen.clone())));
        self.recorded = now;
    }
}

fn readier(one: &mut EndpointSeen, other: &EndpointSeen) {
    one.ready |= other.ready;
    one.serving |= other.serving;
    one.terminating &= other.terminating;
}

impl Book for Endpoints {
    type Object = EndpointSlice;

    fn applied(&mut self, slice: &EndpointSlice, out: &mut Vec<What>) {
        let (name, seen) = (slice.metadata.name.clone().unwrap_or_default(), endpoints_seen(slice));
        if let Some(listed) = &mut self.listed {
            listed.insert(name, seen);
        } else {
            self.slices.insert(name, seen);
            self.compare(out);
        }
    }

    fn deleted(&mut self, slice: &EndpointSlice, out: &mut Vec<What>) {
        self.slices.remove(slice.metadata.name.as_deref().unwrap_or_default());
        self.compare(out);
    }

    fn list_begins(&mut self) {
        self.listed = Some(BTreeMap::new());
    }

    fn list_ends(&mut self, out: &mut Vec<What>) {
        self.slices = self.listed.take().unwrap_or_default();
        self.compare(out);
    }
}

/// The endpoints of one slice; none where it belongs to no Service.
#[must_use]
pub fn endpoints_seen(slice: &EndpointSlice) -> Vec<EndpointSeen> {
    let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
    let Some(service) = service else { return Vec::new() };
    slice.endpoints.iter().filter_map(|endpoint| endpoint_seen(service, endpoint)).collect()
}

/// One endpoint; nothing where it has no address. Conditions that are not stated are read as the API documents them:
/// ready unless stated otherwise, serving as ready, and not terminating.
fn endpoint_seen(service: &str, endpoint: &Endpoint) -> Option<EndpointSeen> {
    let address = endpoint.addresses.first()?.clone();
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    Some(EndpointSeen {
        service: service.to_owned(),
        pod: target.and_then(|target| target.name.clone()).unwrap_or_else(|| address.clone()),
        address,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        gone: false,
    })
}

#[cfg(test)]
mod tests;
