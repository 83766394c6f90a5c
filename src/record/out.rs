//! A file of a record while it is written: its errors name it.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use super::error::RecordError;

/// A file and its path, for errors that name it.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) path: PathBuf,
    pub(super) file: BufWriter<File>,
}

impl Out {
    /// A file of this name in a directory, which must not hold one yet.
    pub(super) fn create(dir: &Path, name: &str) -> Result<Self, RecordError> {
        let path = dir.join(name);
        match File::create_new(&path) {
            Ok(file) => Ok(Self { path, file: BufWriter::new(file) }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RecordError::Exists { path: dir.to_owned() })
            }
            Err(source) => Err(RecordError::Io { doing: "create", path, source }),
        }
    }

    /// Writes a piece.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), RecordError> {
        self.file.write_all(line).map_err(|source| self.error("write", source))
    }

    /// Hands all to the operating system.
    pub(super) fn flush(&mut self) -> Result<(), RecordError> {
        self.file.flush().map_err(|source| self.error("write", source))
    }

    /// Writes what is left and waits for the disk.
    pub(super) fn close(mut self) -> Result<(), RecordError> {
        self.flush()?;
        // Some file systems say only here that the disk was full.
        self.file.get_ref().sync_all().map_err(|source| self.error("write", source))
    }

    /// An error of the system, with the file's path.
    pub(super) fn error(&self, doing: &'static str, source: io::Error) -> RecordError {
        RecordError::Io { doing, path: self.path.clone(), source }
    }
}
