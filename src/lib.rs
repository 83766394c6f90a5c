//! evenkeel proves that a service stays up while Kubernetes moves under it.
//!
//! `experiment file → Experiment → Plan → run(faults ∥ load ∥ observe → conductor) → Record → judge → Verdict →
//! report → exit code`: the folders are the stages of that line. ARCHITECTURE.md says what each may know of the others.

pub mod agent;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod demo;
pub mod exit_code;
pub mod experiment;
pub mod failure;
pub mod fault;
pub mod image;
pub mod judge;
pub mod load;
pub mod model;
pub mod observe;
pub mod plan;
pub mod record;
pub mod report;
pub mod run;
pub mod sandbox;
