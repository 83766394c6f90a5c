//! The loopback addresses of a sandbox: blocks of its own, so that sandboxes stand side by side.
//!
//! Linux takes all of 127.0.0.0/8 for its own; a block is claimed by a socket on its first address, which the system
//! frees whatever becomes of this process.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use super::SandboxError;

/// The blocks that are tried for pods, 127.64.0.0/16 to 127.127.0.0/16: far from what resolvers and services use.
const BLOCKS: std::ops::RangeInclusive<u8> = 64..=127;

/// How far the block of nodes and Services lies beyond that of pods.
const BEYOND: u8 = 64;

/// How many addresses Services have.
pub const SERVICES: u32 = 4_096;

/// The port of the claim: below the ports that the system gives to clients, and nobody's by custom.
const CLAIM_PORT: u16 = 17_053;

/// A block, claimed as long as this lives.
#[derive(Debug)]
pub struct Block {
    second: u8,
    _claim: TcpListener,
}

impl Block {
    /// Claims the first block that is free.
    ///
    /// # Errors
    /// When loopback has no such addresses here, or every block is taken.
    pub fn claim() -> Result<Self, SandboxError> {
        for second in BLOCKS {
            match TcpListener::bind(SocketAddrV4::new(Ipv4Addr::new(127, second, 0, 1), CLAIM_PORT)) {
                Ok(claim) => return Ok(Self { second, _claim: claim }),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(source) => {
                    return Err(SandboxError::Loopback { address: Ipv4Addr::new(127, second, 0, 1), source });
                }
            }
        }
        Err(SandboxError::NoBlock { of: BLOCKS.count() })
    }

    /// Its number, which no other sandbox of this machine has now.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.second
    }

    const fn beyond(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second + BEYOND, third, fourth)
    }

    /// The address of a node by its number: up to 1,007 nodes.
    #[must_use]
    pub fn node(&self, number: u16) -> Ipv4Addr {
        let [high, low] = (number + 1).to_be_bytes();
        self.beyond(1 + high, low)
    }

    /// The network, a /16, of the addresses that pods get.
    #[must_use]
    pub const fn pods(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, 0, 0)
    }

    /// The first of the [`SERVICES`] addresses that Services get.
    #[must_use]
    pub const fn services(&self) -> Ipv4Addr {
        self.beyond(240, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sandboxes_have_different_blocks_and_a_freed_one_is_taken_again() {
        let one = Block::claim().unwrap();
        let two = Block::claim().unwrap();
        assert_ne!(one.pods(), two.pods());
        let freed = one.second;
        drop(one);
        // Another test of this machine may have taken it meanwhile, but none below it was free.
        assert!(Block::claim().unwrap().second >= freed);
    }

    #[test]
    fn nodes_have_addresses_of_their_own_below_those_of_services() {
        let block = Block::claim().unwrap();
        let addresses: std::collections::BTreeSet<Ipv4Addr> = (0..1_007).map(|number| block.node(number)).collect();
        assert_eq!(addresses.len(), 1_007);
        assert!(addresses.iter().all(|address| *address < block.services()));
    }
}
