//! What is wrong with an experiment file: each problem with its place, what was found and what to write instead.

use std::fmt;

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Place {
    /// Where a file begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One problem, not yet tied to a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What is wrong, in one line.
    pub what: String,
    /// What to write instead, in one line.
    pub instead: String,
}

/// So many problems are kept: whoever has more has written something else than an experiment.
pub const MAX_PROBLEMS: usize = 100;

/// All problems of one file, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: String,
    all: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// The problems of a file, sorted by place, each once.
    #[must_use]
    pub fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        let left_out = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Self { file: file.to_owned(), all: problems, left_out }
    }

    /// The file as the caller names it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The problems, in the order of the file; at most [`MAX_PROBLEMS`].
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.all
    }
}

/// One line each: `FILE:LINE:COLUMN: what is wrong; what to write`.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { place, what, instead }) in self.all.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}:{}: {what}; {instead}", self.file, place.line, place.column)?;
        }
        if self.left_out > 0 {
            write!(f, "\n{}: and {} more", self.file, self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
