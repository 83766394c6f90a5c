//! Tests of the judgement on synthetic records.

mod answers;
pub mod builder;
mod causes;
mod claims;
mod comparisons;
mod expectations;
mod killed;
mod phases;
mod random;
mod remedies;
mod scenes;
mod slow;
