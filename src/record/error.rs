//! What can go wrong with a record on disk: said with the path, the cause, and what to try.

use std::{io, path::PathBuf};

/// Why a record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refused, as with a full disk or a directory that may not be written.
    #[error("could not {doing} {}: {}", path.display(), hint(source))]
    Io {
        /// What was attempted, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// There is a record already, which is never overwritten.
    #[error("{} holds a record already; give another directory, or remove that one", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Something could not be put into the form of its file.
    #[error("could not write {} into {}", what, path.display())]
    Encode {
        /// What it was.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Written by another version.
    #[error(
        "{} has record format {found}, and this evenkeel reads format {}; read it with the evenkeel that wrote it",
        path.display(),
        super::event::FORMAT
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The version it names.
        found: u64,
    },
    /// Larger than any run makes it.
    #[error("{} is larger than the {limit} bytes that a record may have; it cannot be a record of a run", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        limit: u64,
    },
    /// Not what the format says.
    #[error("{}, line {line}: {problem}; the file has been changed or damaged since the run", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// The cause with the next step where there is a usual one.
fn hint(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("{source}; free some space, or give a directory elsewhere with --out")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("{source}; give a directory that can be written with --out")
        }
        io::ErrorKind::NotFound => format!("{source}; is this the directory of a run?"),
        _ => source.to_string(),
    }
}
