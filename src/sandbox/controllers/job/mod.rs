//! Jobs.
pub mod backoff;
pub mod indexes;
pub mod policy;
