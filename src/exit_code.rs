//! Every exit code and its meaning, for scripts and CI. Scripts rely on these: they don't change.

use std::process::ExitCode as ProcessCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// All that was expected held.
    Held = 0,
    /// Something that was expected did not hold.
    Broken = 1,
    /// A bad file or bad flags; nothing was touched.
    Usage = 2,
    /// It cannot be told.
    Inconclusive = 3,
    /// No cluster, no rights, a workload that never got ready, a step that failed.
    Setup = 4,
    /// Something could not be undone.
    NotUndone = 5,
    /// A fault of evenkeel's own.
    Internal = 70,
    /// Interrupted, and everything has been undone.
    Interrupted = 130,
}

impl ExitCode {
    /// From the worst to the best; the worst of a suite is the suite's.
    const WORST_FIRST: [Self; 8] = [
        Self::Internal,
        Self::NotUndone,
        Self::Setup,
        Self::Usage,
        Self::Interrupted,
        Self::Broken,
        Self::Inconclusive,
        Self::Held,
    ];

    /// The worse of two.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        Self::WORST_FIRST.into_iter().find(|code| *code == self || *code == other).unwrap_or(self)
    }
}

impl From<ExitCode> for ProcessCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn the_worst_of_a_suite_wins_in_the_documented_order() {
        let order = [70, 5, 4, 2, 130, 1, 3, 0];
        assert_eq!(ExitCode::WORST_FIRST.map(|code| code as u8), order);
        for (at, worse) in ExitCode::WORST_FIRST.into_iter().enumerate() {
            for better in &ExitCode::WORST_FIRST[at..] {
                assert_eq!(worse.worst(*better), worse);
                assert_eq!(better.worst(worse), worse);
            }
        }
    }
}
