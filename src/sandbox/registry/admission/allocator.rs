//! Addresses and ports that the sandbox gives out to Services. What is taken is read from the stored Services each time,
//! so that nothing can leak; a lock from the look to the write keeps two Services from getting the same.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Service;

use crate::sandbox::{kinds, store::Store};

/// The first node port.
const PORT_FIRST: u32 = 30_000;

/// Node ports in all.
const PORTS: u32 = 2768;

/// Of the node ports so many are at first left to those who ask for a number
/// (k/pkg/registry/core/service/portallocator/allocator.go).
const PORTS_KEPT: u32 = 86;

/// Addresses and ports that the sandbox gives out.
#[derive(Debug)]
pub struct Allocator {
    base: u32,
    size: u32,
    next: Mutex<Next>,
}

/// Where the search for something free goes on, so that what was just given back is not given out at once.
#[derive(Debug, Default)]
struct Next {
    address: u32,
    port: u32,
}

/// All that is taken, while nothing else can be.
pub struct Holding<'a> {
    allocator: &'a Allocator,
    next: MutexGuard<'a, Next>,
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u32>,
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new(Ipv4Addr::new(127, 96, 0, 0), 4096)
    }
}

impl Allocator {
    /// Gives out the addresses after `base` up to `base + size - 2`, as of a network whose first and last address are
    /// not used. The first, `base + 1`, is left to the Service `kubernetes`, which asks for it.
    #[must_use]
    pub fn new(base: Ipv4Addr, size: u32) -> Self {
        Self { base: base.to_bits(), size, next: Mutex::default() }
    }

    /// The address of the Service `kubernetes`.
    #[must_use]
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.saturating_add(1))
    }

    /// Keeps everyone else from being given something until what comes back is dropped.
    pub(in super::super) fn hold(&self, store: &Store) -> Holding<'_> {
        // A panic cannot leave a half-made cursor.
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut addresses, mut ports) = (HashSet::new(), HashSet::new());
        for service in store.list(&kinds::SERVICE, None).1 {
            let Some(spec) = service.typed::<Service>().and_then(|service| service.spec.clone()) else { continue };
            addresses.extend(spec.cluster_ips.iter().flatten().filter_map(|address| address.parse::<Ipv4Addr>().ok()));
            let node_ports = spec.ports.iter().flatten().filter_map(|port| port.node_port);
            ports.extend(node_ports.chain(spec.health_check_node_port).filter_map(|port| u32::try_from(port).ok()));
        }
        Holding { allocator: self, next, addresses, ports }
    }

    /// Addresses that are at first left to those who ask for one (KEP-3070).
    fn kept(&self) -> u32 {
        let hosts = self.size.saturating_sub(2);
        if hosts < 16 { 0 } else { (hosts / 16).clamp(16, 256) }
    }
}

impl Holding<'_> {
    /// Takes an address that someone asks for.
    pub(super) fn take_address(&mut self, wanted: &str) -> Result<(), String> {
        let range = self.allocator;
        let address: Ipv4Addr = wanted.parse().map_err(|_| format!("failed to parse service IP {wanted:?}"))?;
        let offset = address.to_bits().wrapping_sub(range.base);
        if offset == 0 || offset >= range.size.saturating_sub(1) {
            let base = Ipv4Addr::from_bits(range.base);
            let bits = 32 - range.size.max(1).ilog2();
            return Err(format!(
                "the provided IP ({address}) is not in the valid range. The range of valid IPs is {base}/{bits}"
            ));
        }
        if self.addresses.insert(address) { Ok(()) } else { Err("provided IP is already allocated".to_owned()) }
    }

    /// A free address.
    pub(super) fn give_address(&mut self) -> Result<Ipv4Addr, String> {
        let range = self.allocator;
        let (hosts, kept) = (range.size.saturating_sub(2), range.kept());
        let is_free = |offset: u32| {
            let address = Ipv4Addr::from_bits(range.base.saturating_add(offset));
            // The first is for the Service `kubernetes` even before that is there.
            (offset > 1 && !self.addresses.contains(&address)).then_some((offset, address))
        };
        let found = turn(kept + 1, hosts + 1, self.next.address).chain(1..=kept).find_map(is_free);
        let (offset, address) = found.ok_or("range is full")?;
        self.next.address = offset + 1;
        self.addresses.insert(address);
        Ok(address)
    }

    /// Takes a node port that someone asks for.
    pub(super) fn take_port(&mut self, wanted: i64) -> Result<(), String> {
        let last = PORT_FIRST + PORTS - 1;
        match u32::try_from(wanted) {
            Ok(port) if (PORT_FIRST..=last).contains(&port) => {
                if self.ports.insert(port) {
                    Ok(())
                } else {
                    Err("provided port is already allocated".to_owned())
                }
            }
            _ => {
                Err(format!("provided port is not in the valid range. The range of valid ports is {PORT_FIRST}-{last}"))
            }
        }
    }

    /// A free node port.
    pub(super) fn give_port(&mut self) -> Result<u32, String> {
        let (first, end) = (PORT_FIRST + PORTS_KEPT, PORT_FIRST + PORTS);
        let mut order = turn(first, end, self.next.port).chain(PORT_FIRST..first);
        let port = order.find(|port| !self.ports.contains(port)).ok_or("range is full")?;
        self.next.port = port + 1;
        self.ports.insert(port);
        Ok(port)
    }
}

/// The numbers from `first` up to `end`, beginning at `from` where that is one of them.
fn turn(first: u32, end: u32, from: u32) -> impl Iterator<Item = u32> {
    let from = if (first..end).contains(&from) { from } else { first };
    (from..end).chain(first..from)
}
