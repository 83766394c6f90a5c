//! The horizontal pod autoscaler's arithmetic, pure.
//!
//! * [`proposal`]: from the usage of pods to a number of replicas.
//! * [`rate`]: how fast, and after how much hesitation, that number may be come to.

pub mod proposal;
pub mod rate;
