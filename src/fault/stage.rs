//! What every step needs: the cluster, the timeline, the undo stack and the abort signal.

use std::sync::Arc;

use super::{abort::Abort, undo::UndoStack};
use crate::{experiment::guards::Guards, record::clock::Sink};

/// What every step needs. Cheap to clone.
#[derive(Clone)]
pub struct Stage {
    /// The cluster. Its `default_retry` must be off, or a refused eviction is not seen.
    pub client: kube::Client,
    /// The experiment's namespace.
    pub namespace: String,
    /// The namespace was made for this run and is removed with it, so what is lost in it is nobody's.
    pub namespace_is_ours: bool,
    /// What no step may do.
    pub guards: Arc<Guards>,
    /// The timeline.
    pub sink: Sink,
    /// Where each act registers its undo first.
    pub undo: Arc<UndoStack>,
    /// The signal to stop.
    pub abort: Abort,
}
