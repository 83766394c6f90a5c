//! How a probe's results become a verdict: consecutive equal ones, up to a threshold. Pure
//! (k/pkg/kubelet/prober/worker.go doProbe, k/pkg/apis/core/v1/defaults.go, v1.34.4).

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Whether the container has started; holds back the other two.
    Startup,
    /// Whether it may get traffic.
    Readiness,
    /// Whether it should be restarted.
    Liveness,
}

impl Purpose {
    /// Its name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// A probe's numbers, with the defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// How long after a container's start it is left alone.
    pub initial_delay: Duration,
    /// From one probe to the next.
    pub period: Duration,
    /// What one may take.
    pub timeout: Duration,
    /// Successes in a row that count.
    pub successes: u32,
    /// Failures in a row that count.
    pub failures: u32,
}

impl Schedule {
    /// The numbers of a probe.
    #[must_use]
    pub fn of(probe: &Probe) -> Self {
        let number = |value: Option<i32>, default: u32, least: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value >= least).unwrap_or(default)
        };
        let seconds = |value, default, least| Duration::from_secs(u64::from(number(value, default, least)));
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            successes: number(probe.success_threshold, 1, 1),
            failures: number(probe.failure_threshold, 3, 1),
        }
    }
}

/// The latest results of a probe. It goes on over a container's restarts, as upstream's does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    last: Option<bool>,
    run: u32,
    on_hold: bool,
}

impl Tally {
    /// There is a new container to probe.
    pub const fn new_container(&mut self) {
        self.on_hold = false;
    }

    /// Whether the verdict on this container is final.
    #[must_use]
    pub const fn is_on_hold(&self) -> bool {
        self.on_hold
    }

    /// Counts a result and gives the verdict, where there are enough of its kind in a row.
    pub fn count(&mut self, purpose: Purpose, schedule: &Schedule, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let needed = if success { schedule.successes } else { schedule.failures };
        if self.run < needed {
            return None;
        }
        if !success && purpose != Purpose::Readiness {
            // The container is about to be killed; whatever it answers now says nothing about the next one.
            self.on_hold = true;
            self.run = 0;
        }
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_upstreams() {
        let schedule = Schedule::of(&Probe::default());
        let secs = Duration::from_secs;
        let wanted = Schedule { initial_delay: secs(0), period: secs(10), timeout: secs(1), successes: 1, failures: 3 };
        assert_eq!(schedule, wanted);
    }

    /// Results as `+` and `-`; verdicts as `+`, `-` and `.` for none.
    fn verdicts(purpose: Purpose, successes: u32, failures: u32, results: &str) -> (String, bool) {
        let schedule = Schedule { successes, failures, ..Schedule::of(&Probe::default()) };
        let mut tally = Tally::default();
        let given = results.chars().map(|result| match tally.count(purpose, &schedule, result == '+') {
            None => '.',
            Some(true) => '+',
            Some(false) => '-',
        });
        let given = given.collect();
        (given, tally.is_on_hold())
    }

    #[test]
    fn only_results_in_a_row_count() {
        use Purpose::{Liveness, Readiness, Startup};
        for (purpose, successes, failures, results, wanted, hold) in [
            (Readiness, 1, 3, "--+--+---", "..+..+..-", false),
            (Readiness, 2, 1, "+-++", ".-.+", false),
            (Readiness, 1, 3, "-----", "..---", false),
            (Liveness, 1, 3, "+--+---", "+..+..-", true),
            (Liveness, 1, 1, "-", "-", true),
            (Startup, 1, 2, "-+", ".+", false),
            (Startup, 1, 2, "--", ".-", true),
        ] {
            assert_eq!(
                verdicts(purpose, successes, failures, results),
                (wanted.to_owned(), hold),
                "{purpose:?} {successes}/{failures} {results}"
            );
        }
    }

    #[test]
    fn a_new_container_is_probed_again_from_nothing() {
        let schedule = Schedule { failures: 2, ..Schedule::of(&Probe::default()) };
        let mut tally = Tally::default();
        tally.count(Purpose::Liveness, &schedule, false);
        assert_eq!(tally.count(Purpose::Liveness, &schedule, false), Some(false));
        tally.new_container();
        assert!(!tally.is_on_hold());
        assert_eq!(tally.count(Purpose::Liveness, &schedule, false), None);
    }
}
