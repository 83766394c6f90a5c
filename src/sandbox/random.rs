//! Chance that can be repeated: a small generator with a seed (`SplitMix64`), for whatever the sandbox decides at random.
//! Not for secrets; names and uids come from the kernel's generator.

use std::sync::{Mutex, PoisonError};

/// A seeded generator.
#[derive(Debug)]
pub struct Random(Mutex<u64>);

impl Random {
    /// A generator. The same seed gives the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A generator of its own for each name, from one seed.
    #[must_use]
    pub fn for_name(seed: u64, name: &str) -> Self {
        // FNV-1a: it only has to tell names apart.
        let of_name = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self::new(seed ^ of_name)
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&self, bound: usize) -> usize {
        let Ok(wide) = u64::try_from(bound) else { return 0 };
        if wide == 0 {
            return 0;
        }
        usize::try_from(self.next() % wide).unwrap_or(0)
    }

    /// Whether something of this probability (0 to 1) happens.
    pub fn chance(&self, probability: f64) -> bool {
        // 53 bits are what a double holds.
        ((self.next() >> 11) as f64) / ((1_u64 << 53) as f64) < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_names_differ() {
        let numbers = |random: Random| (0..4).map(|_| random.next()).collect::<Vec<_>>();
        assert_eq!(numbers(Random::new(7)), numbers(Random::new(7)));
        assert_ne!(numbers(Random::for_name(7, "a")), numbers(Random::for_name(7, "b")));
    }

    #[test]
    fn numbers_are_spread_over_the_range() {
        let random = Random::new(1);
        let mut counts = [0; 3];
        for _ in 0..3000 {
            counts[random.below(3)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        let hits = (0..1000).filter(|_| random.chance(0.25)).count();
        assert!((190..310).contains(&hits), "{hits}");
        assert_eq!(random.below(0), 0);
    }
}
