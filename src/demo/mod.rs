//! The sample service, the workload of the experiments.
//!
//! A small HTTP/1.1 server each of whose habits around starting and stopping can be set, so that an experiment and its
//! known-bad twin differ by one setting. It names its pod in every answer, needs no shell, and is made to be PID 1.
//!
//! * [`options`]: every knob, as a flag and as an environment variable.
//! * [`server`]: its life, from boot to the end of draining.
//! * `answer`: what each path says.

mod answer;
pub mod options;
pub mod server;

#[cfg(test)]
mod tests;

pub use options::{DemoOptions, DrainStyle};
pub use server::{DemoError, pause, reserve, serve, serve_on};
