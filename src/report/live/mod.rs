//! The view of a run while it goes on, on standard error: lines that stay in place on a terminal, plain lines in a log.
//!
//! * [`state`]: what to show; everything that can be decided without a terminal.
//!
//! It never fails a run: where standard error cannot be written to, nothing is shown.

pub mod state;

use std::{
    fmt,
    io::{self, Write},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::state::{LiveState, ShownLane};
use crate::{
    load::message::ClosedInterval,
    record::event::{Event, Micros},
    report::{
        story::{About, Moment, Tone},
        terminal::Style,
        wording::moment_us,
    },
};

/// Drawings per second on a terminal: enough to look alive, and a small part of a core.
const DRAWS_PER_SECOND: u8 = 5;
/// The same as a distance on the run's clock.
const DRAW_EVERY_US: Micros = 1_000_000 / DRAWS_PER_SECOND as Micros;
/// How often a log gets a line with figures though nothing happens.
const LINE_EVERY_US: Micros = 5_000_000;

/// Where the view goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Lines that stay in place; for a terminal.
    InPlace,
    /// A line after another; for a log, or a terminal that cannot move its cursor.
    Lines,
    /// Nowhere.
    Nowhere,
}

/// The view while a run goes on.
pub struct Live {
    state: LiveState,
    style: Style,
    view: View,
    /// When it was drawn, or a line of figures written, last; on the run's clock.
    last_us: Option<Micros>,
}

enum View {
    InPlace { all: MultiProgress, bars: Vec<ProgressBar> },
    Lines(Box<dyn Write + Send>),
    Nowhere,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Live {
    /// A view on standard error. [`Style::of_stderr`] says how it can be written to.
    #[must_use]
    pub fn new(shown: Shown, style: Style, experiment: &str, lanes: &[ShownLane]) -> Self {
        let state = LiveState::new(experiment, lanes);
        let view = match shown {
            Shown::Nowhere => View::Nowhere,
            Shown::Lines => View::Lines(Box::new(io::stderr())),
            Shown::InPlace => {
                let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
                let all = MultiProgress::with_draw_target(target);
                let bars = state.lines(style).iter().map(|_| all.add(bar())).collect();
                View::InPlace { all, bars }
            }
        };
        Self { state, style, view, last_us: None }
    }

    #[cfg(test)]
    fn into(writer: Box<dyn Write + Send>, experiment: &str, lanes: &[ShownLane]) -> Self {
        let style = Style { colour: false, width: 100 };
        Self { state: LiveState::new(experiment, lanes), style, view: View::Lines(writer), last_us: None }
    }

    /// Something happened.
    pub fn event(&mut self, event: &Event) {
        let moments = self.state.event(event);
        if let View::Lines(out) = &mut self.view {
            for moment in moments.iter().filter(|moment| is_for_a_log(moment)) {
                write_line(out, moment.at_us, &moment.text);
            }
        }
        self.refresh();
    }

    /// A lane closed an interval. Its times are on the run's clock.
    pub fn interval(&mut self, interval: &ClosedInterval) {
        self.state.interval(interval);
        self.refresh();
    }

    /// Time goes on; to be called some times a second, so that the clock in the view moves though nothing happens.
    pub fn tick(&mut self, now_us: Micros) {
        self.state.tick(now_us);
        self.refresh();
    }

    /// Runs something that writes to standard error itself, such as a log line, without spoiling the view.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.view {
            View::InPlace { all, .. } => all.suspend(write),
            View::Lines(_) | View::Nowhere => write(),
        }
    }

    /// The run is over: the lines in place are taken away, since the summary says it all.
    pub fn finish(mut self) {
        match &mut self.view {
            View::InPlace { all, bars } => {
                bars.iter().for_each(ProgressBar::finish_and_clear);
                // A terminal that is gone needs no clearing.
                drop(all.clear());
            }
            View::Lines(out) => drop(out.flush()),
            View::Nowhere => {}
        }
    }

    fn refresh(&mut self) {
        let now = self.state.now_us();
        let since = self.last_us.map(|last| now - last);
        match &mut self.view {
            View::InPlace { bars, .. } => {
                if since.is_some_and(|since| since < DRAW_EVERY_US) {
                    return;
                }
                for (bar, text) in bars.iter().zip(self.state.lines(self.style)) {
                    bar.set_message(text);
                }
            }
            View::Lines(out) => {
                if since.is_some_and(|since| since < LINE_EVERY_US) {
                    return;
                }
                write_line(out, now, &self.state.line());
            }
            View::Nowhere => {}
        }
        self.last_us = Some(now);
    }
}

fn bar() -> ProgressBar {
    // Hidden until it joins the others, or it would draw by itself.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    // The template is a constant that parses; the fallback would only look different.
    bar.set_style(ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// A log gets the run's own course and what went wrong; the cluster's detail is in the report.
fn is_for_a_log(moment: &Moment) -> bool {
    matches!(moment.about, About::Run | About::Step) || moment.tone == Tone::Bad
}

fn write_line(out: &mut impl Write, at_us: Micros, text: &str) {
    // Whoever closed standard error doesn't want to read; the run goes on.
    drop(writeln!(out, "{:>9}  {text}", moment_us(at_us)));
}

#[cfg(test)]
mod tests;
