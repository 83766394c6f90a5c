//! What the live view shows, as plain state: fed with events and intervals, read as lines. No terminal, no clock: time
//! is what the events say.

use std::collections::VecDeque;

use crate::{
    experiment::schema::Phase,
    load::message::ClosedInterval,
    record::{
        event::{Event, Micros, Outcome, StepState, What},
        samples::Samples,
    },
    report::{
        story::{About, Moment, Story, Tone},
        terminal::{BOLD, DIM, GREEN, RED, Style, YELLOW, paint},
        wording::{count, cut, duration, moment_us, plain},
    },
};

/// Over how much time a lane's figures are taken.
const WINDOW_US: Micros = 1_000_000;
/// Moments that stay in sight.
pub const RECENT: usize = 5;
/// Lanes that get a line.
pub const MOST_LANES: usize = 8;
/// Intervals of one window at most: ten of 100 ms, and some more where an interval is shorter.
const MOST_INTERVALS: usize = 64;

/// What to show.
#[derive(Debug)]
pub struct LiveState {
    experiment: String,
    now_us: Micros,
    phase: Option<(Phase, Micros)>,
    running: Vec<RunningStep>,
    lanes: Vec<LaneNow>,
    recent: VecDeque<Moment>,
    story: Story,
}

#[derive(Debug)]
struct RunningStep {
    path: String,
    name: String,
    detail: String,
    since_us: Micros,
}

/// A lane that gets a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownLane {
    /// Its name.
    pub name: String,
    /// It asks a Service that is not under test, so what it loses is not counted in the whole.
    pub is_control: bool,
}

#[derive(Debug, Default)]
struct LaneNow {
    name: String,
    is_control: bool,
    recent: VecDeque<Interval>,
    sent: u64,
    lost: u64,
}

#[derive(Debug)]
struct Interval {
    start_us: Micros,
    end_us: Micros,
    sent: u64,
    lost: u64,
    samples: Samples,
}

/// A lane's figures of the last second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Requests per second that fell due and were sent.
    pub rate: f64,
    /// Requests lost in it.
    pub lost: u64,
    /// 99 of 100 response times, in milliseconds; nothing without any.
    pub p99_ms: Option<f64>,
}

impl LiveState {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(experiment: &str, lanes: &[ShownLane]) -> Self {
        let lane =
            |lane: &ShownLane| LaneNow { name: plain(&lane.name), is_control: lane.is_control, ..LaneNow::default() };
        Self {
            experiment: plain(experiment),
            now_us: 0,
            phase: None,
            running: Vec::new(),
            lanes: lanes.iter().take(MOST_LANES).map(lane).collect(),
            recent: VecDeque::new(),
            story: Story::default(),
        }
    }

    /// The latest moment that is known.
    #[must_use]
    pub const fn now_us(&self) -> Micros {
        self.now_us
    }

    /// Time goes on, though nothing may have happened.
    pub fn tick(&mut self, now_us: Micros) {
        self.now_us = self.now_us.max(now_us);
    }

    /// Takes an event in, and gives back what it tells.
    pub fn event(&mut self, event: &Event) -> Vec<Moment> {
        self.tick(event.at_us);
        match &event.what {
            What::Phase { phase } => self.phase = Some((*phase, event.at_us)),
            What::Step(step) => {
                self.running.retain(|running| running.path != step.path);
                if matches!(step.state, StepState::Begun | StepState::Effective) {
                    let since_us = event.at_us;
                    let (path, name, detail) = (plain(&step.path), plain(&step.name), plain(&step.detail));
                    self.running.push(RunningStep { path, name, detail, since_us });
                }
            }
            _ => {}
        }
        let moments = self.story.tell(event);
        for moment in &moments {
            // Endpoints follow their pods, and would push the rest out of sight.
            if moment.about != About::Endpoint {
                self.recent.push_back(moment.clone());
            }
        }
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        moments
    }

    /// Takes a closed interval of a lane in. Its times are on the run's clock.
    pub fn interval(&mut self, interval: &ClosedInterval) {
        let counts = &interval.counts;
        let end_us = counts.start_us + counts.length_us;
        self.tick(end_us);
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.name == counts.lane) else { return };
        let of = |wanted: fn(Outcome) -> bool| -> u64 {
            counts.by_outcome.iter().filter(|(outcome, _)| wanted(**outcome)).map(|(_, n)| n).sum()
        };
        let (sent, lost) = (of(|outcome| outcome != Outcome::NotSent), of(Outcome::is_lost));
        lane.sent += sent;
        lane.lost += lost;
        let samples = Samples::from(&interval.response);
        lane.recent.push_back(Interval { start_us: counts.start_us, end_us, sent, lost, samples });
        while lane.recent.front().is_some_and(|first| first.start_us < end_us - WINDOW_US)
            || lane.recent.len() > MOST_INTERVALS
        {
            lane.recent.pop_front();
        }
    }

    /// A lane's figures of the last second; nothing before its first interval.
    #[must_use]
    pub fn figures(&self, lane: &str) -> Option<Figures> {
        self.lanes.iter().find(|one| one.name == lane).and_then(LaneNow::figures)
    }

    /// One line with phase and figures, for a log.
    #[must_use]
    pub fn line(&self) -> String {
        let phase = self.phase.map_or("set-up", |(phase, _)| phase.as_str());
        let lanes: Vec<String> = self.lanes.iter().map(|lane| format!("{} {}", lane.name, lane.words())).collect();
        format!("{phase}: {}", lanes.join(" | "))
    }

    /// The lines of the view on a terminal; always as many for the same lanes.
    #[must_use]
    pub fn lines(&self, style: Style) -> Vec<String> {
        let mut lines = vec![self.heading(style), self.steps(style)];
        let widest = self.lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0).min(24);
        for lane in &self.lanes {
            let colour = match lane.figures() {
                Some(figures) if figures.lost > 0 => RED,
                Some(_) => "",
                None => DIM,
            };
            let lost = if lane.lost > 0 { format!("   {} lost so far", count(lane.lost)) } else { String::new() };
            let total = if lane.is_control { format!("   control{lost}") } else { lost };
            let name = cut(&lane.name, widest);
            lines.push(format!(
                "  {} {}{}",
                paint(style, &format!("{name:<widest$}"), BOLD),
                paint(style, &lane.words(), colour),
                paint(style, &total, DIM)
            ));
        }
        for at in 0..RECENT {
            lines.push(self.recent.get(at).map_or(String::new(), |moment| recent(moment, style)));
        }
        lines
    }

    fn heading(&self, style: Style) -> String {
        let (phase, since) = match self.phase {
            Some((phase, since)) => (phase.as_str(), self.now_us - since),
            None => ("set-up", self.now_us),
        };
        let judged = self.lanes.iter().filter(|lane| !lane.is_control);
        let (sent, lost) = judged.fold((0, 0), |(sent, lost), lane| (sent + lane.sent, lost + lane.lost));
        format!(
            "{}  {} {}  {}",
            paint(style, &self.experiment, BOLD),
            paint(style, phase, YELLOW),
            elapsed(since),
            paint(style, &format!("{} of {} lost", count(lost), count(sent)), if lost > 0 { RED } else { GREEN })
        )
    }

    fn steps(&self, style: Style) -> String {
        let step = |step: &RunningStep| {
            let detail = if step.detail.is_empty() { String::new() } else { format!(": {}", cut(&step.detail, 80)) };
            format!("step {} {}{detail} {}", step.path, step.name, elapsed(self.now_us - step.since_us))
        };
        let steps: Vec<String> = self.running.iter().map(step).collect();
        if steps.is_empty() { String::new() } else { format!("  {}", paint(style, &steps.join(" | "), YELLOW)) }
    }
}

impl LaneNow {
    fn figures(&self) -> Option<Figures> {
        let (oldest, newest) = (self.recent.front()?, self.recent.back()?);
        let seconds = ((newest.end_us - oldest.start_us) as f64 / 1e6).max(1e-3);
        let samples = Samples::merged(self.recent.iter().map(|interval| &interval.samples));
        let (mut sent, mut lost) = (0, 0);
        for interval in &self.recent {
            sent += interval.sent;
            lost += interval.lost;
        }
        let p99_ms = (!samples.is_empty()).then(|| samples.value_at_quantile(0.99) as f64 / 1e3);
        Some(Figures { rate: sent as f64 / seconds, lost, p99_ms })
    }

    fn words(&self) -> String {
        match self.figures() {
            None => "no load yet".to_owned(),
            Some(Figures { rate, lost, p99_ms }) => {
                let p99 = p99_ms.map_or("–".to_owned(), duration);
                format!("{rate:>5.0}/s  {:>4} lost  p99 {p99:<8}", count(lost)).trim_end().to_owned()
            }
        }
    }
}

/// Time that goes on, to the tenth of a second, so that it is seen to.
fn elapsed(us: Micros) -> String {
    let seconds = us.max(0) as f64 / 1e6;
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0).floor();
    format!("{minutes} min {:.0} s", (seconds - minutes * 60.0).floor())
}

fn recent(moment: &Moment, style: Style) -> String {
    let colour = match moment.tone {
        Tone::Plain => "",
        Tone::Good => GREEN,
        Tone::Caution => YELLOW,
        Tone::Bad => RED,
    };
    format!(
        "  {} {}",
        paint(style, &format!("{:>9}", moment_us(moment.at_us)), DIM),
        paint(style, &moment.text, colour)
    )
}
