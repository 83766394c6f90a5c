//! The share of one generator in a lane that several send together: which of its requests, how many of its connections.
//!
//! Requests are dealt out in turn, so each share is evenly spaced, and all of them together are the lane's one schedule.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::experiment::schema::Connections;

/// One of so many equal shares. The default is the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which of them, from 0.
    index: u32,
    /// How many there are.
    of: NonZeroU32,
}

impl Default for Share {
    fn default() -> Self {
        Self { index: 0, of: NonZeroU32::MIN }
    }
}

impl Share {
    /// All shares of a lane that is divided by so many.
    pub fn all(of: NonZeroU32) -> impl Iterator<Item = Self> {
        (0..of.get()).map(move |index| Self { index, of })
    }

    /// How many shares there are.
    #[must_use]
    pub const fn of(self) -> NonZeroU32 {
        self.of
    }

    /// The number, among all requests of the lane, of the request `n` of this share. Both count from 0.
    #[must_use]
    pub const fn number(self, n: u64) -> u64 {
        n.saturating_mul(self.of.get() as u64).saturating_add(self.index as u64)
    }

    /// How many of the lane's first requests are of this share.
    #[must_use]
    pub const fn of_first(self, requests: u64) -> u64 {
        requests.saturating_sub(self.index as u64).div_ceil(self.of.get() as u64)
    }

    /// The connections of this share. Where there are fewer than shares, each has one.
    #[must_use]
    pub fn connections(self, all: Connections) -> Connections {
        match all {
            Connections::New => Connections::New,
            Connections::Reused(all) => {
                let mine = self.of_first(all.into()).max(1);
                Connections::Reused(u16::try_from(mine).unwrap_or(all))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(of: u32) -> Vec<Share> {
        Share::all(NonZeroU32::new(of).unwrap()).collect()
    }

    #[test]
    fn the_default_is_the_whole() {
        assert_eq!(all(1), [Share::default()]);
        assert_eq!((Share::default().number(7), Share::default().of_first(7)), (7, 7));
    }

    #[test]
    fn connections_are_all_there_once_and_each_share_has_one_at_least() {
        for (connections, of, wanted) in
            [(20, 3, vec![7, 7, 6]), (4, 4, vec![1; 4]), (2, 3, vec![1; 3]), (9, 1, vec![9])]
        {
            let shared: Vec<Connections> =
                all(of).into_iter().map(|share| share.connections(Connections::Reused(connections))).collect();
            let wanted: Vec<Connections> = wanted.into_iter().map(Connections::Reused).collect();
            assert_eq!(shared, wanted, "{connections} by {of}");
        }
        assert_eq!(all(3)[1].connections(Connections::New), Connections::New);
    }

    proptest! {
        #[test]
        fn each_request_is_of_one_share(of in 1u32..40, requests in 0u64..500) {
            let mut numbers: Vec<u64> = all(of)
                .into_iter()
                .flat_map(|share| (0..share.of_first(requests)).map(move |n| share.number(n)))
                .collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..requests).collect::<Vec<_>>());
        }
    }
}
