//! `scale`, `binding` and `eviction`.
