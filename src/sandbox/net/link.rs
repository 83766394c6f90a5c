//! Delay and loss between two places.

use std::time::Duration;

use crate::sandbox::random::Random;

/// How often a client's kernel sends its first packet again before it gives up (`net.ipv4.tcp_syn_retries`).
const RETRIES: u32 = 6;

/// The pause before the first of those; each next one is twice as long (RFC 6298).
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// What happens on the way from one place to another.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Link {
    /// How much later a connection comes about.
    pub delay: Duration,
    /// How likely an exchange of packets is lost, 0 to 1.
    pub loss: f64,
}

impl Link {
    /// How long a new connection takes on this link; nothing where it does not come about at all. Each lost exchange is
    /// tried again by the client's kernel after one second, then two, and so on.
    pub(super) fn connects_after(self, random: &Random) -> Option<Duration> {
        let mut waited = Duration::ZERO;
        for retry in 0..=RETRIES {
            if !random.chance(self.loss) {
                return Some(waited + self.delay);
            }
            waited += RETRY_FIRST.saturating_mul(1 << retry);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_packet_costs_a_retry_and_a_dead_link_everything() {
        let random = Random::new(3);
        let delay = Duration::from_millis(20);
        assert_eq!(Link { delay, loss: 0.0 }.connects_after(&random), Some(delay));
        assert_eq!(Link { delay, loss: 1.0 }.connects_after(&random), None);
        let half = Link { delay: Duration::ZERO, loss: 0.5 };
        let took: Vec<_> = (0..200).filter_map(|_| half.connects_after(&random)).collect();
        let at_once = took.iter().filter(|took| took.is_zero()).count();
        let second = took.iter().filter(|took| **took == RETRY_FIRST).count();
        assert!((75..125).contains(&at_once) && (30..70).contains(&second), "{at_once} {second}");
    }
}
