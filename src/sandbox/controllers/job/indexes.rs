//! Completion indexes of an Indexed Job, as sets of intervals: `0,2-5,9`
//! (`k/pkg/controller/job/{indexed_job_utils,success_policy}.go`, v1.34.4).

use std::fmt;

/// A set of indexes, as intervals that neither touch nor overlap, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(Vec<Interval>);

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: i32,
    last: i32,
}

impl Indexes {
    /// Reads `0,2-5,9`, leaving out what isn't below `completions` and what cannot be read.
    #[must_use]
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut found = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { continue };
            if first >= completions {
                break;
            }
            let last = last.min(completions - 1);
            if first >= 0 && first <= last {
                found.push(Interval { first, last });
            }
        }
        Self::merged(found)
    }

    fn merged(mut intervals: Vec<Interval>) -> Self {
        intervals.sort_by_key(|interval| interval.first);
        let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            match merged.last_mut() {
                Some(before) if i64::from(interval.first) <= i64::from(before.last) + 1 => {
                    before.last = before.last.max(interval.last);
                }
                _ => merged.push(interval),
            }
        }
        Self(merged)
    }

    /// These and some more.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = i32>) -> Self {
        let more = more.into_iter().map(|index| Interval { first: index, last: index });
        Self::merged(self.0.iter().copied().chain(more).collect())
    }

    /// These and those of another set.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        Self::merged(self.0.iter().chain(&other.0).copied().collect())
    }

    /// How many they are.
    #[must_use]
    pub fn total(&self) -> i32 {
        let total: i64 = self.0.iter().map(|interval| i64::from(interval.last) - i64::from(interval.first) + 1).sum();
        i32::try_from(total).unwrap_or(i32::MAX)
    }

    /// Whether an index is among them.
    #[must_use]
    pub fn has(&self, index: i32) -> bool {
        let at = self.0.partition_point(|interval| interval.last < index);
        self.0.get(at).is_some_and(|interval| interval.first <= index)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in both sets.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> i32 {
        let (mut one, mut two, mut total) = (0, 0, 0_i64);
        while let (Some(a), Some(b)) = (self.0.get(one), other.0.get(two)) {
            total += (i64::from(a.last.min(b.last)) - i64::from(a.first.max(b.first)) + 1).max(0);
            if a.last <= b.last {
                one += 1;
            }
            if b.last <= a.last {
                two += 1;
            }
        }
        i32::try_from(total).unwrap_or(i32::MAX)
    }

    /// The first `count` indexes below `completions` that are not among these.
    #[must_use]
    pub fn first_missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let mut missing = Vec::with_capacity(count.min(1_024));
        let mut candidate = 0;
        for interval in &self.0 {
            while candidate < completions && missing.len() < count && candidate < interval.first {
                missing.push(candidate);
                candidate += 1;
            }
            candidate = candidate.max(interval.last.saturating_add(1));
        }
        while candidate < completions && missing.len() < count {
            missing.push(candidate);
            candidate += 1;
        }
        missing
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Interval { first, last }) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match i64::from(*last) - i64::from(*first) {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_as_upstream_writes_it() {
        let table = [
            ("", 10, "", 0),
            ("0", 10, "0", 1),
            ("0,1", 10, "0,1", 2),
            ("0,1,2", 10, "0-2", 3),
            ("0-2,3,5", 10, "0-3,5", 5),
            ("0-8", 5, "0-4", 5),
            ("1,7-9", 5, "1", 1),
            ("1,x,3", 10, "1,3", 2),
            ("4-2", 10, "", 0),
            ("0-2147483647", i32::MAX, "0-2147483646", i32::MAX),
        ];
        for (text, completions, written, total) in table {
            let indexes = Indexes::parse(text, completions);
            assert_eq!((indexes.to_string().as_str(), indexes.total()), (written, total), "{text}");
        }
    }

    #[test]
    fn more_indexes_join_the_intervals_beside_them() {
        let set = Indexes::parse("1,2,5", 10);
        assert_eq!(set.with([0, 3, 4]).to_string(), "0-5");
        assert_eq!(set.with([7]).to_string(), "1,2,5,7");
        assert_eq!(set.merge(&Indexes::parse("3,4,9", 10)).to_string(), "1-5,9");
        assert!(set.has(2) && set.has(5) && !set.has(0) && !set.has(3) && !set.has(6));
    }

    #[test]
    fn the_first_missing_ones_are_the_lowest() {
        let set = Indexes::parse("0,2,3", 10);
        assert_eq!(set.first_missing(3, 10), [1, 4, 5]);
        assert_eq!(set.first_missing(9, 5), [1, 4]);
        assert_eq!(set.first_missing(0, 5), Vec::<i32>::new());
    }

    #[test]
    fn what_two_sets_share_is_counted_once() {
        let table = [("0-4", "2-9", 3), ("0,2,4", "1,3", 0), ("0-9", "1,3-5", 4), ("", "1", 0)];
        for (one, other, shared) in table {
            let (one, other) = (Indexes::parse(one, 10), Indexes::parse(other, 10));
            assert_eq!((one.overlap(&other), other.overlap(&one)), (shared, shared));
        }
    }
}
