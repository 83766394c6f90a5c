//! Lifecycle hooks: postStart and preStop (k/pkg/kubelet/lifecycle/handlers.go, v1.34.4).

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler};
use tokio::time::sleep;

use super::{
    exec,
    http_get::{Failure, Target},
    pods::PodHandle,
    process::Exit,
    shared::Shared,
};

/// Runs a hook to its end. It has no time limit of its own; dropping it ends what it began.
///
/// # Errors
/// Why it failed. An HTTP hook does not look at the answer's status.
pub async fn run(
    shared: &Arc<Shared>,
    pod: &PodHandle,
    container: &Container,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        let line = action.command.clone().unwrap_or_default();
        let done = exec::run(shared, pod, &container.name, &line).await;
        return match done {
            Ok(exec::Done { exit: Exit::Code(0), .. }) => Ok(()),
            Ok(done) => Err(format!(
                "Exec lifecycle hook ([{}]) for Container {:?} failed - error: command '{}' exited with {}: {}, message: {:?}",
                line.join(" "),
                container.name,
                line.join(" "),
                done.exit.code(),
                done.output,
                done.output,
            )),
            Err(error) => Err(format!(
                "Exec lifecycle hook ([{}]) for Container {:?} failed - error: {error}",
                line.join(" "),
                container.name,
            )),
        };
    }
    if let Some(action) = &hook.http_get {
        return http(action, container, pod).await;
    }
    if let Some(action) = &hook.sleep {
        sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err("Cannot run handler: invalid handler: the hook has none of exec, httpGet and sleep".to_owned())
}

async fn http(action: &HTTPGetAction, container: &Container, pod: &PodHandle) -> Result<(), String> {
    let address = pod.address().map(|address| address.to_string());
    let address = address.ok_or_else(|| "failed to find networking container".to_owned())?;
    Target::of(action, container, &address)?.get().await.map(drop).map_err(Failure::into_words)
}
