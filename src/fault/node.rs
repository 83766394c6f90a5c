//! Cordons and uncordons nodes as kubectl does: a node that already is as asked is left alone.
//!
//! A node's state from before is registered as its undo, once: whatever several steps do to it, that is what it
//! returns to.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    api::call,
    error::{StepError, read},
    guard,
    stage::Stage,
    steps::Progress,
    target,
    undo::Undo,
};
use crate::experiment::schema::Cordon;

/// Runs a `cordon` or an `uncordon` step.
pub(super) async fn run(step: &Cordon, cordon: bool, stage: &Stage, progress: &Progress) -> Result<String, StepError> {
    let verb = if cordon { "cordon" } else { "uncordon" };
    let (picked, facts) = target::nodes(&step.nodes, stage).await?;
    let nodes: Vec<String> = picked.iter().map(|one| one.node.clone()).collect();
    let why = picked.iter().map(|one| format!("node/{} ({})", one.node, one.why)).collect::<Vec<_>>().join(", ");
    progress.begun(format!("{verb} {why}"), nodes.iter().map(|node| format!("node/{node}")).collect());
    if cordon {
        guard::nodes(&nodes, &facts, false, stage).await?;
    }
    set_all(&nodes, cordon, stage).await?;
    let how = if cordon { "unschedulable" } else { "schedulable" };
    let detail = format!("{} seen {how}", nodes.join(", "));
    progress.effective(detail.clone());
    Ok(detail)
}

/// Cordons or uncordons nodes, one after another, and sees that they are so. Those that come after a failure are
/// still tried, as kubectl does.
pub(super) async fn set_all(nodes: &[String], cordon: bool, stage: &Stage) -> Result<(), StepError> {
    let mut first_failure = Ok(());
    for node in nodes {
        if let Err(error) = set(node, cordon, stage).await {
            if matches!(error, StepError::Aborted { .. }) {
                return Err(error);
            }
            first_failure = first_failure.and(Err(error));
        }
    }
    first_failure
}

async fn set(node: &str, cordon: bool, stage: &Stage) -> Result<(), StepError> {
    let api = Api::<Node>::all(stage.client.clone());
    let attempted = format!("{} node/{node}", if cordon { "cordon" } else { "uncordon" });
    let before = read(&stage.abort, &attempted, api.get(node)).await?;
    if is_unschedulable(&before) == cordon {
        return Ok(());
    }
    let undo = if cordon { Undo::Uncordon { node: node.to_owned() } } else { Undo::Cordon { node: node.to_owned() } };
    stage.undo.register(undo).await?;
    call(patch(&api, node, cordon)).await.map_err(StepError::api(&attempted))?;
    let after = read(&stage.abort, &attempted, api.get(node)).await?;
    if is_unschedulable(&after) == cordon {
        return Ok(());
    }
    Err(StepError::NoEffect {
        attempted,
        why: "something else set it back at once; look for who manages the node".into(),
    })
}

/// `spec.unschedulable`.
pub(super) fn is_unschedulable(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default()
}

/// kubectl's patch; the field is absent where it is false.
pub(super) async fn patch(api: &Api<Node>, node: &str, cordon: bool) -> kube::Result<Node> {
    let value = if cordon { json!(true) } else { json!(null) };
    api.patch(node, &PatchParams::default(), &Patch::Merge(json!({"spec": {"unschedulable": value}}))).await
}
