//! What has to be put back, written down where it survives this process: on disk and in the cluster, before each act.
//!
//! * [`paper`]: what is written, and reading it again. * [`disk`]: a file of the run's folder, each line synced.
//! * [`index`]: where those files are, for `recover`. * [`hold`]: a Lease, which also keeps two runs apart.
//! * [`crash`]: the moments at which a test ends the process.
//!
//! Either copy alone is enough to finish an interrupted run. Neither holds anything but names, numbers, labels and
//! fingerprints.

use std::{path::Path, sync::Arc};

use super::undo::Undo;
use crate::failure::chain;

pub mod crash;
pub mod disk;
mod error;
pub mod hold;
pub mod index;
pub mod paper;

pub use crash::Point;
pub use disk::Disk;
pub use error::{HoldError, LedgerError};
pub use hold::Hold;
pub use paper::{Head, Settled};

/// The two copies; either may be missing where it cannot be had.
#[derive(Default)]
pub struct Ledger {
    disk: Option<Disk>,
    hold: Option<Arc<Hold>>,
}

impl Ledger {
    /// Nothing is written down: for what has no cluster that could survive.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::default()
    }

    /// The ledger of a run: a file in its folder, and the Lease. `known` also enters the file into the index, where
    /// there is a place for it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open(folder: &Path, head: &Head, hold: Arc<Hold>, known: bool) -> Result<Self, LedgerError> {
        let disk = Disk::create(folder, head, known).await?;
        hold.about(&head.experiment).await;
        Ok(Self { disk: Some(disk), hold: Some(hold) })
    }

    /// The ledger of an interrupted run, taken up again.
    #[must_use]
    pub const fn taken_up(disk: Option<Disk>, hold: Arc<Hold>) -> Self {
        Self { disk, hold: Some(hold) }
    }

    /// Writes down what an act is about to change. The act may begin when this returns well.
    ///
    /// # Errors
    /// When either copy cannot be written.
    pub async fn intend(&self, undo: &Undo) -> Result<(), LedgerError> {
        if let Some(disk) = &self.disk {
            disk.intend(undo).await?;
        }
        if let Some(hold) = &self.hold
            && let Err(error) = hold.add(undo).await
        {
            self.settle(undo, Settled::Withdrawn).await;
            return Err(error);
        }
        Ok(())
    }

    /// Writes down how an undo ended. What cannot be written here is only done once more by `recover`.
    pub async fn settle(&self, undo: &Undo, how: Settled) {
        if let Some(disk) = &self.disk
            && let Err(error) = disk.settle(undo, how).await
        {
            tracing::warn!(error = chain(&error), "an undo is not in the ledger on disk");
        }
        if how != Settled::Failed
            && let Some(hold) = &self.hold
            && let Err(error) = hold.remove(undo).await
        {
            tracing::warn!(error = chain(&error), "an undo is not in the ledger in the cluster");
        }
    }

    /// The last line. Where all has been undone, nobody need find the ledger any more.
    pub async fn close(&self, complete: bool) {
        if let Some(disk) = &self.disk
            && let Err(error) = disk.close(complete).await
        {
            tracing::warn!(error = chain(&error), "the ledger on disk has no end");
        }
    }
}
