//! What is done to an object through a path of its own below it:
//!
//! * [`scale`]: the replicas of what has them, in one shape for all.
//! * [`bind`]: a pod gets its node.
//! * [`evict`]: a pod is deleted if its budget allows.
//! * [`conditions`]: setting conditions, which these and the controllers do.

pub mod bind;
pub mod conditions;
pub mod evict;
pub mod scale;
