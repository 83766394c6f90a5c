//! The plan: all that a run would do, worked out before anything is touched.
//!
//! * [`facts`]: what is known of a cluster, as plain values.
//! * [`make()`]: from an experiment and facts to a [`Plan`], or to all that keeps it from being carried out.
//! * [`pick`]: which nodes and pods a step acts on, and why these. The run asks again, with fresh facts.
//! * [`spared`]: the nodes that no step touches.
//! * [`guards`]: what is more than the file allows, or than is ever meant. The run asks again, with fresh facts.
//! * [`rights`]: what a client must be allowed to do.
//! * [`rbac`]: these as roles, for kubectl.
//! * [`text`]: a plan for people.
//!
//! Inside: `world` is what the run will meet, applied or standing; `budgets`, `steps` and `time` work it out.

mod budgets;
pub mod facts;
pub mod guards;
mod make;
pub mod pick;
mod problem;
pub mod rbac;
pub mod rights;
pub mod spared;
mod steps;
pub mod text;
mod time;
mod world;

pub use budgets::{BudgetPlan, RolloutPlan};
pub use facts::ClusterFacts;
pub use guards::GuardProblem;
pub use make::{AgentsPlan, LanePlan, NamespacePlan, Plan, make};
pub use pick::{PickProblem, Picked, PickedPod, pick_nodes, pick_pods};
pub use problem::PlanProblem;
pub use rights::Right;
pub use spared::agent_nodes;
pub use steps::{PickPlan, StepPlan};
pub use time::TimePlan;
