//! From the agent's clock to the run's: two monotonic clocks of two machines, whose zeros have nothing to do with each
//! other. The agent's clock is read several times over the network; the reading with the shortest round trip says the
//! most, since the agent's moment lies somewhere within it (Cristian's algorithm).

use crate::record::event::Micros;

/// One reading of the agent's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The run's clock when the question left.
    pub sent_us: Micros,
    /// The agent's clock when it answered.
    pub agent_us: Micros,
    /// The run's clock when the answer was there.
    pub received_us: Micros,
}

/// What to add to a time of the agent's clock, and how far off that can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The run's clock less the agent's.
    pub by_us: Micros,
    /// Half of the round trip: the true offset lies within so much of `by_us`.
    pub uncertainty_us: i64,
}

impl Offset {
    /// The offset by one reading: the agent answered in the middle of the round trip, give or take half of it.
    #[must_use]
    pub const fn of(reading: Reading) -> Self {
        let round_trip = reading.received_us - reading.sent_us;
        Self {
            by_us: reading.sent_us + round_trip / 2 - reading.agent_us,
            // Rounded up, so that the truth is never outside.
            uncertainty_us: round_trip - round_trip / 2,
        }
    }

    /// The offset by the reading with the shortest round trip; nothing without a reading.
    #[must_use]
    pub fn best(readings: &[Reading]) -> Option<Self> {
        readings.iter().copied().map(Self::of).min_by_key(|offset| offset.uncertainty_us)
    }

    /// A time of the run's clock on the agent's clock.
    #[must_use]
    pub const fn agent_us(self, run_us: Micros) -> Micros {
        run_us - self.by_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn reading(sent_us: i64, agent_us: i64, received_us: i64) -> Reading {
        Reading { sent_us, agent_us, received_us }
    }

    #[test]
    fn the_agent_answers_in_the_middle_of_the_round_trip() {
        let table = [
            // (sent, agent, received) → (offset, uncertainty)
            ((0, 0, 0), (0, 0)),
            ((1_000, 500, 3_000), (1_500, 1_000)),
            ((1_000, 500_000, 3_000), (-498_000, 1_000)),
            ((-4_000, 100, -2_000), (-3_100, 1_000)),
            ((10, 0, 13), (11, 2)),
        ];
        for ((sent, agent, received), (by_us, uncertainty_us)) in table {
            let offset = Offset::of(reading(sent, agent, received));
            assert_eq!(offset, Offset { by_us, uncertainty_us }, "sent {sent}, agent {agent}, received {received}");
        }
    }

    #[test]
    fn whenever_the_agent_answered_the_truth_is_within_the_uncertainty() {
        // The agent's clock reads 7,000 less; it may answer at any moment of the round trip.
        for answered in 1_000..=1_031 {
            let offset = Offset::of(reading(1_000, answered - 7_000, 1_031));
            assert!((offset.by_us - 7_000).abs() <= offset.uncertainty_us, "answered at {answered}: {offset:?}");
        }
    }

    #[test]
    fn the_shortest_round_trip_decides_and_not_the_first_or_the_average() {
        let readings = [reading(0, 900, 1_000), reading(2_000, 2_010, 2_020), reading(3_000, 3_001, 9_000)];
        let best = Offset::best(&readings).unwrap();
        assert_eq!(best, Offset { by_us: 0, uncertainty_us: 10 });
        assert_eq!(Offset { by_us: 23, ..best }.agent_us(123), 100);
        assert_eq!(Offset::best(&[]), None);
    }
}
