//! Why something could not be written down, and why a cluster could not be had for a run.

use std::{io, path::PathBuf};

use super::hold;
use crate::fault::api::ApiError;

/// Why an undo could not be written down. The act that it is for does not take place.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refused, as with a full disk.
    #[error("failed to write the undo to {}; free some space, or give a folder elsewhere with --out", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cluster did not take it.
    #[error("failed to write the undo into lease {}/{}", hold::NAMESPACE, hold::NAME)]
    Cluster(#[source] ApiError),
    /// Another has taken the cluster over.
    #[error("lease {}/{} is held by {by} now, so this run has lost the cluster", hold::NAMESPACE, hold::NAME)]
    Lost {
        /// The new holder.
        by: String,
    },
    /// More than one object can hold.
    #[error("there is more to undo than the cluster can hold in one object; let the steps act on fewer objects")]
    Full,
}

/// Why a cluster cannot be had for a run.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another run is under way.
    #[error(
        "{holder} is at work on this cluster, and was heard of {age_s} s ago{about}; two runs at once would take each \
         other's faults for losses: wait for it, or stop it where it runs with Ctrl-C"
    )]
    Busy {
        /// Who holds it.
        holder: String,
        /// The experiment, such as `, with experiment b1`; empty where it is not known.
        about: String,
        /// Since when nothing was heard of it, in seconds.
        age_s: i64,
    },
    /// Another run was interrupted.
    #[error(
        "{holder} was interrupted on this cluster: it was last heard of {age_s} s ago{about}, and has left {left}; \
         `evenkeel recover --on {on}` undoes what it left"
    )]
    Dead {
        /// Who held it.
        holder: String,
        /// The experiment; empty where it is not known.
        about: String,
        /// Since when nothing was heard of it, in seconds.
        age_s: i64,
        /// How much there is to undo, in words.
        left: String,
        /// The cluster as `--on` names it.
        on: String,
    },
    /// The cluster could not be asked.
    #[error("failed to {attempted} lease {}/{}, which keeps two runs apart", hold::NAMESPACE, hold::NAME)]
    Api {
        /// What was attempted.
        attempted: &'static str,
        /// Why.
        #[source]
        source: ApiError,
    },
}
