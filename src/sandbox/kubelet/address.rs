//! The addresses of pods: each its own loopback address, so that pods can all listen on the same port.
//!
//! Addresses are handed out in order, round and round, so that one is not used again until the others have been: a
//! client with an old address finds nobody rather than another pod.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long an address rests after its pod. Longer than any client of an experiment keeps one.
const REST: Duration = Duration::from_secs(300);

/// Why a pod got no address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// All addresses are taken or resting.
    #[error("all addresses of {0}/16 are in use; start the sandbox with another address base or fewer pods")]
    Exhausted(Ipv4Addr),
    /// This machine does not let us listen there.
    #[error(
        "cannot listen on {address}; the sandbox needs Linux with the whole of 127.0.0.0/8 on its loopback interface"
    )]
    Unavailable {
        /// The address.
        address: Ipv4Addr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, Default)]
struct Inner {
    next: u16,
    taken: HashSet<u16>,
    resting: HashMap<u16, Instant>,
}

/// The addresses of one /16 network.
#[derive(Debug)]
pub struct Addresses {
    base: Ipv4Addr,
    inner: Mutex<Inner>,
}

impl Addresses {
    /// All of a network but its first 256 addresses.
    #[must_use]
    pub fn new(base: Ipv4Addr) -> Self {
        let [a, b, ..] = base.octets();
        Self { base: Ipv4Addr::new(a, b, 0, 0), inner: Mutex::default() }
    }

    /// An address that no pod has, nor had within the last minutes.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&self) -> Result<Ipv4Addr, AddressError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for _ in 0..=u16::MAX {
            let host = inner.next;
            inner.next = inner.next.wrapping_add(1);
            // Addresses that end in 0 or 255, or lie in the first block, look like networks and broadcasts to people.
            let plain = host >= 256 && !matches!(host % 256, 0 | 255);
            let rested = inner.resting.get(&host).is_none_or(|since| now.duration_since(*since) >= REST);
            if plain && rested && !inner.taken.contains(&host) {
                inner.resting.remove(&host);
                inner.taken.insert(host);
                let [a, b, ..] = self.base.octets();
                let [c, d] = host.to_be_bytes();
                return Ok(Ipv4Addr::new(a, b, c, d));
            }
        }
        Err(AddressError::Exhausted(self.base))
    }

    /// An address that can be listened on, as far as a try can tell.
    ///
    /// # Errors
    /// When there is none, or this machine has no such addresses.
    pub fn take_usable(&self) -> Result<Ipv4Addr, AddressError> {
        let address = self.take()?;
        match TcpListener::bind((address, 0)) {
            Ok(_) => Ok(address),
            Err(source) => {
                self.give_back(address);
                Err(AddressError::Unavailable { address, source })
            }
        }
    }

    /// Gives an address back, to rest for a while.
    pub fn give_back(&self, address: Ipv4Addr) {
        let [.., c, d] = address.octets();
        let host = u16::from_be_bytes([c, d]);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.taken.remove(&host) {
            inner.resting.insert(host, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_is_not_used_again_for_minutes() {
        let addresses = Addresses::new(Ipv4Addr::new(127, 64, 0, 0));
        let first = addresses.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(127, 64, 1, 1));
        addresses.give_back(first);
        let others: HashSet<Ipv4Addr> = std::iter::from_fn(|| addresses.take().ok()).collect();
        assert!(!others.contains(&first));
        assert_eq!(others.len(), 255 * 254 - 1);
        tokio::time::advance(REST).await;
        assert_eq!(addresses.take().unwrap(), first);
        assert!(matches!(addresses.take(), Err(AddressError::Exhausted(_))));
    }

    #[tokio::test]
    async fn loopback_addresses_can_be_listened_on_and_others_say_why_not() {
        assert!(Addresses::new(Ipv4Addr::new(127, 64, 0, 0)).take_usable().is_ok());
        let error = Addresses::new(Ipv4Addr::new(203, 0, 0, 0)).take_usable().unwrap_err();
        assert!(matches!(error, AddressError::Unavailable { .. }), "{error}");
    }
}
