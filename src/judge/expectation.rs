//! What was expected, measured.
//!
//! Losses and times are measured twice: all of them, and only those that may be held against the service. What fails
//! by the second is broken; what fails by the first alone cannot be told.

use super::{
    budget,
    confidence::{lower_95, needed_for, upper_95},
    facts::{Facts, seconds},
    recovery,
    tally::Scope,
    verdict::{Expected, Finding},
};
use crate::{
    experiment::{
        schema::{
            ExpectBudget, ExpectFinding, ExpectFinished, ExpectLatency, ExpectLost, ExpectOutage, Expectation, Lane,
            Percentile, Phase,
        },
        units::{Percent, Span},
    },
    record::event::{Micros, StepState},
};

/// With fewer requests than this, few losses or none say too little: the rule of three gives 3/300, a loss rate of up
/// to 1 %.
pub const REQUESTS_MIN: u64 = 300;

/// Values that must lie beyond a percentile for it to be told, on average.
const BEYOND_QUANTILE: f64 = 3.0;

/// An expectation, measured, and what stands in the way where it cannot be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// As the verdict has it.
    pub expected: Expected,
    /// Why it cannot be told; empty when it can.
    pub obstacle: String,
}

impl Measured {
    fn new(name: String, measured: String, allowed: String, held: Result<bool, String>) -> Self {
        let (held, obstacle) = match held {
            Ok(held) => (Some(held), String::new()),
            Err(obstacle) => (None, obstacle),
        };
        Self { expected: Expected { name, held, measured, allowed }, obstacle }
    }

    /// As a reason of the verdict.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Expected { name, measured, allowed, held } = &self.expected;
        match held {
            Some(_) => format!("{name}: {measured}, allowed {allowed}"),
            None => format!("{name} cannot be told ({measured}): {}", self.obstacle),
        }
    }
}

/// Measures one expectation.
#[must_use]
pub fn measure(facts: &Facts<'_>, findings: &[Finding], expectation: &Expectation) -> Measured {
    match expectation {
        Expectation::Lost(expect) => lost(facts, expect),
        Expectation::Latency(expect) => latency(facts, expect),
        Expectation::Outage(expect) => outage(facts, expect),
        Expectation::Budget(expect) => budget_kept(facts, expect),
        Expectation::Finished(expect) => finished(facts, expect),
        Expectation::Recovered(expect) => {
            let (measured, held) = recovery::recovered(facts, expect.within);
            Measured::new("recovered after the last fault".to_owned(), measured, within(expect.within), held)
        }
        Expectation::Finding(expect) => finding(facts, findings, expect),
    }
}

/// `in lane new during fault`, with a space before it, or nothing.
fn place(lane: Option<&str>, phase: Option<Phase>) -> String {
    let lane = lane.map(|lane| format!(" in lane {lane}")).unwrap_or_default();
    let phase = phase.map(|phase| format!(" during {}", phase.as_str())).unwrap_or_default();
    lane + &phase
}

fn within(span: Span) -> String {
    format!("within {span}")
}

const TAINTED: &str = "it fails only by requests that were lost or late while the measurement was in doubt";

fn lost(facts: &Facts<'_>, expect: &ExpectLost) -> Measured {
    let scope = Scope { lane: expect.lane.as_deref(), phase: expect.phase, untainted: false };
    let all = facts.tally.requests(scope);
    let clean = facts.tally.requests(Scope { untainted: true, ..scope });
    // A bound that says nothing asks for none lost.
    let says_nothing = expect.share.is_none() && expect.bound95.is_none();
    let at_most = if says_nothing { Some(expect.at_most.unwrap_or(0)) } else { expect.at_most };
    let exceeded = |lost: u64, sent: u64| {
        at_most.is_some_and(|most| lost > most)
            || expect.share.is_some_and(|share| lost as f64 > share.fraction() * sent as f64)
            || expect.bound95.is_some_and(|bound| lower_95(lost, sent) > bound.fraction())
    };
    let held = if all.sent == 0 {
        Err("no request was sent there".to_owned())
    } else if exceeded(clean.lost, clean.sent) {
        Ok(false)
    } else if exceeded(all.lost, all.sent) {
        Err(TAINTED.to_owned())
    } else if all.sent < REQUESTS_MIN {
        Err(too_few(all.sent, REQUESTS_MIN))
    } else if let Some(bound) = expect.bound95.filter(|bound| upper_95(all.lost, all.sent) > bound.fraction()) {
        Err(too_few_for(bound, all.lost, all.sent))
    } else {
        Ok(true)
    };
    let share = if all.sent == 0 { 0.0 } else { all.lost as f64 * 100.0 / all.sent as f64 };
    let bound = all.loss_bound_95.filter(|_| all.lost == 0 || expect.bound95.is_some());
    let bound = bound.map(|bound| format!(", a loss rate below {:.3} % at 95 %", bound * 100.0));
    let measured = format!("{} of {} ({share:.3} %{})", all.lost, all.sent, bound.unwrap_or_default());
    let bounds = [
        at_most.map(|most| format!("at most {most}")),
        expect.share.map(|share| format!("at most {share}")),
        expect.bound95.map(|bound| format!("a loss rate of at most {bound} at 95 %")),
    ];
    let allowed = bounds.into_iter().flatten().collect::<Vec<_>>().join(", and ");
    let name = format!("lost requests{}", place(expect.lane.as_deref(), expect.phase));
    Measured::new(name, measured, allowed, held)
}

fn too_few(there: u64, needed: u64) -> String {
    format!("{there} requests are too few, at least {needed} are needed")
}

/// Why a rate cannot be bounded, and how much more would do.
fn too_few_for(bound: Percent, lost: u64, sent: u64) -> String {
    let upper = upper_95(lost, sent) * 100.0;
    let more = if lost == 0 {
        format!("at least {} without a loss are needed", needed_for(bound.fraction()))
    } else {
        "more requests, or fewer losses, are needed".to_owned()
    };
    format!("{lost} of {sent} only say that the loss rate is below {upper:.3} % at 95 %; {more}")
}

fn latency(facts: &Facts<'_>, expect: &ExpectLatency) -> Measured {
    let scope = Scope { lane: expect.lane.as_deref(), phase: expect.phase, untainted: false };
    let all = facts.tally.response(scope);
    let clean = facts.tally.response(Scope { untainted: true, ..scope });
    let quantile = expect.percentile.quantile();
    let most = u64::try_from(expect.at_most.micros()).unwrap_or(u64::MAX);
    let needed = samples_needed(quantile);
    let value = all.value_at_quantile(quantile);
    let over = clean.iter().filter(|(value, _)| *value > most).fold(0_u64, |sum, (_, n)| sum.saturating_add(n));
    // Few requests can tell that too many took longer: a single one is enough for the slowest.
    let surely_over = lower_95(over, clean.len()) > 1.0 - quantile;
    let held = if surely_over || clean.len() >= needed && clean.value_at_quantile(quantile) > most {
        Ok(false)
    } else if all.len() < needed {
        Err(too_few(all.len(), needed))
    } else if value > most {
        Err(TAINTED.to_owned())
    } else {
        Ok(true)
    };
    let percentile = match expect.percentile {
        Percentile::P50 => "p50",
        Percentile::P90 => "p90",
        Percentile::P99 => "p99",
        Percentile::P999 => "p999",
        Percentile::Max => "max",
    };
    let name = format!("{percentile} of the response time{}", place(expect.lane.as_deref(), expect.phase));
    let measured = format!("{:.1} ms", value as f64 / 1_000.0);
    Measured::new(name, measured, format!("at most {}", expect.at_most), held)
}

/// So many values that three of them lie beyond the quantile: with fewer, the slowest that happened to be measured is
/// taken for it. For the slowest of all, as many as for a count of losses.
fn samples_needed(quantile: f64) -> u64 {
    if quantile >= 1.0 {
        return REQUESTS_MIN;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "6 to 3,000 by the percentiles there are"
    )]
    let needed = (BEYOND_QUANTILE / (1.0 - quantile)).round() as u64;
    needed.max(1)
}

fn outage(facts: &Facts<'_>, expect: &ExpectOutage) -> Measured {
    let longest = |untainted: bool| {
        let outages = facts.outages(untainted);
        let wanted = outages.iter().filter(|outage| expect.lane.as_ref().is_none_or(|lane| *lane == outage.lane));
        wanted.map(|outage| outage.end_ms - outage.start_ms).max_by(f64::total_cmp)
    };
    let most = expect.at_most.micros() as f64 / 1_000.0;
    // A stream that was cut is an outage of no length, and yet a loss.
    let exceeds = |longest: Option<f64>| longest.is_some_and(|longest| longest > most || expect.at_most.micros() == 0);
    let (all, clean) = (longest(false), longest(true));
    let sent = facts.tally.requests(Scope { lane: expect.lane.as_deref(), ..Scope::default() }).sent;
    let held = if sent == 0 {
        Err("no request was sent there".to_owned())
    } else if exceeds(clean) {
        Ok(false)
    } else if exceeds(all) {
        Err(TAINTED.to_owned())
    } else if let Some(obstacle) = too_sparse(facts, expect) {
        Err(obstacle)
    } else {
        Ok(true)
    };
    let name = format!("longest outage{}", place(expect.lane.as_deref(), None));
    let measured = format!("{:.0} ms", all.unwrap_or_default());
    Measured::new(name, measured, format!("at most {}", expect.at_most), held)
}

/// Why an outage of the allowed length could have passed between two requests of one of the lanes. That there is none
/// at all (0) says no more than that nothing is lost, and needs as many requests.
fn too_sparse(facts: &Facts<'_>, expect: &ExpectOutage) -> Option<String> {
    let most = expect.at_most.micros();
    let meant = |lane: &&Lane| expect.lane.as_ref().map_or(!lane.control, |wanted| *wanted == lane.name);
    facts.record.experiment.spec.load.iter().filter(meant).find_map(|lane| {
        let sent = facts.tally.requests(Scope { lane: Some(&lane.name), ..Scope::default() }).sent;
        if most == 0 {
            return (sent < REQUESTS_MIN).then(|| format!("lane {}: {}", lane.name, too_few(sent, REQUESTS_MIN)));
        }
        if sent == 0 {
            return Some(format!("lane {} sent no request", lane.name));
        }
        let spacing = facts.tally.covered_us(&lane.name) as f64 / sent as f64;
        (spacing > most as f64).then(|| {
            format!(
                "lane {} sent a request only every {:.0} ms, and what lies between two is not seen; a rate of at least \
                 {:.0}/s is needed",
                lane.name,
                spacing / 1_000.0,
                (1_000_000.0 / most as f64).ceil()
            )
        })
    })
}

fn budget_kept(facts: &Facts<'_>, expect: &ExpectBudget) -> Measured {
    let name = format!("budget {} never broken", expect.name);
    let allowed = "healthy pods never below the number it asks for".to_owned();
    let Some(measured) = budget::measure(&facts.timeline, &expect.name) else {
        let obstacle = "no such budget was seen with an up-to-date status".to_owned();
        return Measured::new(name, "not seen".to_owned(), allowed, Err(obstacle));
    };
    let lowest = measured.lowest;
    let text = format!(
        "at the least {} healthy where {} were asked for, at {}; {} evictions refused",
        lowest.healthy,
        lowest.desired,
        seconds(lowest.at_us),
        measured.refused
    );
    let held = if facts.timeline.contradicts_itself {
        Err("the times of the record contradict each other".to_owned())
    } else {
        Ok(measured.short.is_none())
    };
    Measured::new(name, text, allowed, held)
}

fn finished(facts: &Facts<'_>, expect: &ExpectFinished) -> Measured {
    let name = format!("step {} finished", expect.step);
    let allowed = within(expect.within);
    let named =
        facts.timeline.steps.values().filter(|changes| changes.iter().any(|(_, step)| step.name == expect.step));
    let mut longest: Option<Micros> = None;
    for changes in named {
        let at = |state: StepState| changes.iter().find(|(_, step)| step.state == state).map(|(at, _)| *at);
        let Some(begun) = at(StepState::Begun) else { continue };
        let Some(done) = at(StepState::Done) else {
            let since = facts.timeline.end.saturating_sub(begun);
            let late = at(StepState::Failed).is_some() || since > expect.within.micros();
            let held = if late { Ok(false) } else { Err("the run ended before the step did".to_owned()) };
            return Measured::new(name, format!("not finished, begun at {}", seconds(begun)), allowed, held);
        };
        longest = longest.max(Some(done.saturating_sub(begun)));
    }
    match longest {
        Some(took) => Measured::new(name, seconds(took), allowed, Ok(took <= expect.within.micros())),
        None => Measured::new(name, "never begun".to_owned(), allowed, Err("the step was never begun".to_owned())),
    }
}

fn finding(facts: &Facts<'_>, findings: &[Finding], expect: &ExpectFinding) -> Measured {
    let present = findings.iter().any(|finding| finding.id == expect.id);
    let others: Vec<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    let measured = match (present, others.is_empty()) {
        (true, _) => "found".to_owned(),
        (false, true) => "not found, and nothing else either".to_owned(),
        (false, false) => format!("not found, but {}", others.join(", ")),
    };
    let tainted = facts.tally.losses.iter().any(|loss| loss.tainted);
    let held = if present || !tainted { Ok(present) } else { Err(TAINTED.to_owned()) };
    Measured::new(format!("finding {}", expect.id), measured, "found".to_owned(), held)
}
