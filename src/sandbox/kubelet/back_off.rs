//! The back-off of restarts and of image pulls: 10 s, doubling to 300 s, forgotten after ten quiet minutes
//! (client-go/util/flowcontrol/backoff.go, k/pkg/kubelet/kubelet.go, k/pkg/kubelet/kuberuntime doBackOff, v1.34.4).

use std::time::Duration;

use tokio::time::Instant;

/// The first delay.
pub const FIRST: Duration = Duration::from_secs(10);

/// The longest delay (`MaxCrashLoopBackOff`).
pub const MAX: Duration = Duration::from_secs(300);

/// A back-off that was last raised so long before the next failure is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The back-off of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackOff {
    entry: Option<(Duration, Instant)>,
}

impl BackOff {
    /// The delay that counts from a failure at `failed`, and when it ends, if it has not ended yet.
    #[must_use]
    pub fn holds(&self, failed: Instant, now: Instant) -> Option<(Duration, Instant)> {
        let (delay, raised) = self.entry?;
        if failed.saturating_duration_since(raised) > FORGOTTEN {
            return None;
        }
        (now.saturating_duration_since(failed) < delay).then_some((delay, failed + delay))
    }

    /// Raises it for another try at `now`, after a failure at `failed`.
    pub fn raise(&mut self, failed: Instant, now: Instant) {
        let delay = match self.entry {
            Some((delay, raised)) if failed.saturating_duration_since(raised) <= FORGOTTEN => (delay * 2).min(MAX),
            _ => FIRST,
        };
        self.entry = Some((delay, now));
    }
}

/// A delay as Go prints it, for messages: `10s`, `1m20s`, `5m0s`.
#[must_use]
pub fn go_duration(delay: Duration) -> String {
    let seconds = delay.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn restarts_wait_ten_seconds_doubling_to_five_minutes_but_the_first_does_not() {
        let mut back_off = BackOff::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let failed = now;
            let until = back_off.holds(failed, now).map_or(now, |(_, until)| until);
            waits.push((until - now).as_secs());
            now = until;
            assert_eq!(back_off.holds(failed, now), None);
            back_off.raise(failed, now);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_quiet_minutes_are_a_fresh_start() {
        let mut back_off = BackOff::default();
        let start = Instant::now();
        back_off.raise(start, start);
        back_off.raise(start, start);
        let failed = start + FORGOTTEN + Duration::from_secs(1);
        assert_eq!(back_off.holds(failed, failed), None);
        back_off.raise(failed, failed);
        assert_eq!(back_off.holds(failed, failed).unwrap().0, FIRST);
    }

    #[test]
    fn delays_are_printed_as_in_go() {
        let texts = [10, 80, 300, 3_600].map(|seconds| go_duration(Duration::from_secs(seconds)));
        assert_eq!(texts, ["10s", "1m20s", "5m0s", "1h0m0s"]);
    }
}
