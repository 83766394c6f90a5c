//! A timer that wakes at an absolute moment with the precision of the kernel's clock.
//!
//! tokio's own timers round up to whole milliseconds, which would put half a millisecond on every request. A timerfd
//! in the reactor has no such limit; where there is none, tokio's timer serves, and the send lag shows what it costs.

use std::io;

#[cfg(not(target_os = "linux"))]
pub(super) use self::coarse::Timer;
#[cfg(target_os = "linux")]
pub(super) use self::timerfd::Timer;

#[cfg(target_os = "linux")]
mod timerfd {
    use std::{num::NonZeroU64, os::fd::OwnedFd, time::Duration};

    use rustix::{
        thread::set_current_timer_slack,
        time::{
            ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
            timerfd_create, timerfd_settime,
        },
    };
    use tokio::{
        io::{Interest, unix::AsyncFd},
        time::Instant,
    };

    use super::io;

    /// How often the two clocks are read beside each other; the closest pair counts, since a thread may be put off
    /// its core between two readings.
    const CLOCK_READINGS: usize = 16;

    const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

    /// A timer whose moments are nanoseconds since an origin.
    pub(in super::super) struct Timer {
        fd: AsyncFd<OwnedFd>,
        origin: Duration,
    }

    impl Timer {
        /// A timer for the current thread. Call it inside the runtime.
        pub(in super::super) fn new(origin: Instant) -> io::Result<Self> {
            // The kernel may put a thread's wake-ups off by its slack, 50 µs by default. Where that cannot be set,
            // the send lag shows it.
            set_current_timer_slack(NonZeroU64::new(1)).ok();
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe, for types that may change their descriptor; OwnedFd does not"
            )]
            let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
            Ok(Self { fd, origin: monotonic_at(origin) })
        }

        /// Waits until `moment_ns` after the origin; at once when that has passed. It may wake early after a wait
        /// that was given up.
        pub(in super::super) async fn until(&self, moment_ns: u64) -> io::Result<()> {
            let moment = self.origin + Duration::from_nanos(moment_ns);
            let it_value = Timespec {
                tv_sec: i64::try_from(moment.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: moment.subsec_nanos().into(),
            };
            // Setting it anew takes back what had expired, so the count need not be read.
            timerfd_settime(
                self.fd.get_ref(),
                TimerfdTimerFlags::ABSTIME,
                &Itimerspec { it_interval: NO_TIME, it_value },
            )?;
            self.fd.readable().await?.clear_ready();
            Ok(())
        }
    }

    /// The reading of `CLOCK_MONOTONIC` at `origin`.
    fn monotonic_at(origin: Instant) -> Duration {
        let reading = || {
            let before = Instant::now();
            let monotonic = clock_gettime(ClockId::Monotonic);
            let after = Instant::now();
            let monotonic = Duration::new(
                u64::try_from(monotonic.tv_sec).unwrap_or_default(),
                u32::try_from(monotonic.tv_nsec).unwrap_or_default(),
            );
            (after - before, monotonic.saturating_sub(before + (after - before) / 2 - origin))
        };
        std::iter::repeat_with(reading).take(CLOCK_READINGS).min().map_or(Duration::ZERO, |(_, at_origin)| at_origin)
    }
}

#[cfg(any(test, not(target_os = "linux")))]
mod coarse {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::io;

    /// A timer whose moments are nanoseconds since an origin, to the millisecond.
    pub(in super::super) struct Timer {
        origin: Instant,
    }

    #[expect(clippy::unnecessary_wraps, reason = "the shape of the precise timer")]
    impl Timer {
        /// A timer for the current thread.
        pub(in super::super) fn new(origin: Instant) -> io::Result<Self> {
            Ok(Self { origin })
        }

        /// Waits until `moment_ns` after the origin; at once when that has passed.
        pub(in super::super) async fn until(&self, moment_ns: u64) -> io::Result<()> {
            tokio::time::sleep_until(self.origin + Duration::from_nanos(moment_ns)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    #[tokio::test]
    async fn a_timer_wakes_at_its_moment_or_later_and_at_once_when_that_has_passed() {
        let origin = Instant::now();
        let nanos = || u64::try_from(origin.elapsed().as_nanos()).expect("a short test");
        let coarse = super::coarse::Timer::new(origin).expect("a timer");
        coarse.until(3_000_000).await.expect("a wake");
        assert!(nanos() >= 3_000_000);
        #[cfg(target_os = "linux")]
        {
            let precise = super::timerfd::Timer::new(origin).expect("a timer");
            let moment_ns = nanos() + 2_500_000;
            precise.until(moment_ns).await.expect("a wake");
            // The two clocks agree to within the readings that compared them.
            assert!(nanos() + 100_000 >= moment_ns, "{} before {moment_ns}", nanos());
            precise.until(0).await.expect("a wake at once");
        }
    }
}
