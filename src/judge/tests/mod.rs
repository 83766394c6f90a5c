//! Tests of the judgement on synthetic records.

mod answers;
pub mod builder;
mod causes;
mod expectations;
mod random;
