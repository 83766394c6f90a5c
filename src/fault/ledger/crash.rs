//! The moments at which a crash can be asked for, by `EVENKEEL_CRASH_AT`: so that the crash matrix ends the process
//! exactly there, and not about there. The end is SIGKILL, which no handler sees, like that of the kernel's OOM killer.

use rustix::process::{Signal, getpid, kill_process};

/// The variable that asks for a crash, by the name of a point.
pub const VARIABLE: &str = "EVENKEEL_CRASH_AT";

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A step has decided what it acts on.
    Begun,
    /// What an act will change has been written down; the act has not begun.
    Intent,
    /// The effect of a step has been seen.
    Effective,
    /// An undo is about to begin.
    Undo,
    /// An undo has been carried out, and this has not been written down.
    Undone,
}

impl Point {
    /// The name by which a crash is asked for.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Intent => "intent",
            Self::Effective => "effective",
            Self::Undo => "undo",
            Self::Undone => "undone",
        }
    }
}

/// Ends the process here and now, where this point has been asked for.
pub fn at(point: Point) {
    if std::env::var_os(VARIABLE).is_some_and(|wanted| wanted == point.name()) {
        // If it cannot be ended, the test that asked for it says so.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}
