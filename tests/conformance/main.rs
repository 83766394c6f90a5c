//! What a cluster must do, written once: every scenario runs on the sandbox in each `cargo test`, and on a real cluster
//! where `EVENKEEL_TEST_ON` names one (`scripts/on-kind.sh`). A difference between the two is a failing test.
//!
//! Arguments that do not begin with `-` are parts of names: only scenarios whose name contains one are run.
//! `EVENKEEL_TEST_SIDE_BY_SIDE` says how many run at the same time; those that touch nodes run alone.

mod cluster;
mod power;
mod scenarios;
mod shapes;

use std::{process::ExitCode, time::Duration};

use cluster::{Arm, Ctx};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};

/// One scenario.
pub struct Scenario {
    /// Its name: a fact.
    pub name: &'static str,
    /// Whether it needs the cluster for itself.
    pub alone: bool,
    /// What it needs that not every cluster has.
    pub needs: Option<Need>,
    /// What is done and asserted.
    pub run: fn(Ctx) -> BoxFuture<'static, ()>,
}

/// What not every cluster has. A scenario that needs it is skipped there, and the output says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Power over nodes.
    Power,
    /// Measurements of what pods use.
    Metrics,
}

/// Scenarios from async functions; their names are the functions'.
#[macro_export]
macro_rules! scenarios {
    ($alone:literal: $($name:ident),* $(,)?) => {
        $crate::scenarios![$alone, None; $($name),*]
    };
    ($alone:literal, $needs:expr; $($name:ident),* $(,)?) => {
        vec![$($crate::Scenario {
            name: stringify!($name),
            alone: $alone,
            needs: $needs,
            run: |ctx| Box::pin($name(ctx)),
        }),*]
    };
}

/// Far more than any scenario takes: one that hangs is a failure with a name.
const SCENARIO_MAX: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(all())
}

async fn all() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let arm = Arm::from_env().await;
    let side_by_side =
        std::env::var("EVENKEEL_TEST_SIDE_BY_SIDE").map_or(arm.side_by_side(), |text| text.parse().unwrap());
    let chosen = |scenario: &Scenario| wanted.is_empty() || wanted.iter().any(|part| scenario.name.contains(part));
    let (has_power, measures) = (arm.power().is_some(), arm.measures().await);
    let can_run = |scenario: &Scenario| {
        let lacks = match scenario.needs {
            Some(Need::Power) if !has_power => "nobody here has power over its nodes",
            Some(Need::Metrics) if !measures => "nobody measures what its pods use",
            _ => return true,
        };
        println!("         {}: skipped, since {lacks}", scenario.name);
        false
    };
    let (alone, together): (Vec<_>, Vec<_>) =
        scenarios::all().into_iter().filter(chosen).filter(can_run).partition(|scenario| scenario.alone);
    println!("conformance on {}: {} scenarios", arm.name(), alone.len() + together.len());
    let mut ends: Vec<bool> =
        stream::iter(together).map(|scenario| one(scenario, &arm)).buffer_unordered(side_by_side).collect().await;
    for scenario in alone {
        ends.push(one(scenario, &arm).await);
    }
    arm.stop().await;
    let passed = ends.iter().filter(|passed| **passed).count();
    println!("{passed} passed, {} failed", ends.len() - passed);
    if passed == ends.len() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn one(scenario: Scenario, arm: &Arm) -> bool {
    let began = tokio::time::Instant::now();
    let ctx = Ctx::new(arm, scenario.name).await;
    let run = tokio::time::timeout(SCENARIO_MAX, (scenario.run)(ctx.clone()));
    let ended = std::panic::AssertUnwindSafe(run).catch_unwind().await;
    let told = match &ended {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(_)) => format!("FAILED: not done after {} s", SCENARIO_MAX.as_secs()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            format!("FAILED: {}", text.unwrap_or_default())
        }
    };
    ctx.remove_namespace().await;
    println!("{:>6.1} s  {}: {told}", began.elapsed().as_secs_f64(), scenario.name);
    matches!(ended, Ok(Ok(())))
}
