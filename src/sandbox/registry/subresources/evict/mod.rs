//! `pods/eviction`: deletes a pod where its budget allows, in upstream's order of decisions and with its answers
//! (k/pkg/registry/core/pod/storage/eviction.go, v1.34.4).
//!
//! Every look and write here is one step of the store, so upstream's retries after conflicts are not needed.

use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::conditions::{self, Condition};
use crate::{
    model::selector::LabelSelector,
    sandbox::{
        error::ApiError,
        kinds, names,
        registry::{DeleteOptions, Part, Registry, WriteOptions, check_posted, delete_options::Stated},
        store::{Object, text_at},
    },
};

/// Evictions that the disruption controller may not have seen the end of, at most (`MaxDisruptedPodSize`).
const DISRUPTED_PODS_MAX: usize = 2000;

/// Seconds after which a client is told to ask again while a budget is being worked out.
const RETRY_AFTER_SECONDS: u32 = 10;

/// Why a client is told to come back later.
const WOULD_VIOLATE: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// The cause in a refusal.
const CAUSE: &str = "DisruptionBudget";

impl Registry {
    /// Evicts a pod by an `Eviction`; the `Status` of success comes back (with HTTP 201).
    ///
    /// # Errors
    /// 429 where the budget does not allow it or is not worked out yet, 500 for two budgets, 404, 409 for
    /// preconditions, 400 for another pod's eviction, 403 for a budget in a broken state.
    pub fn evict(&self, namespace: &str, name: &str, eviction: &Value, dry_run: bool) -> Result<Value, ApiError> {
        check_posted("Eviction", &["policy/v1", "policy/v1beta1"], namespace, eviction)?;
        if text_at(&eviction["metadata"], "name") != name {
            return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
        }
        let mut options = delete_options(&eviction["deleteOptions"])?;
        options.dry_run |= dry_run;
        let pod = self.get(&kinds::POD, namespace, name)?;
        let value = pod.value();
        if budget_is_ignored(&value) {
            // A pending pod that turns running meanwhile would be under its budget after all.
            let pending = value["status"]["phase"] == "Pending" && value["metadata"]["deletionTimestamp"].is_null();
            let guarded = if pending { with_version(&options, &pod) } else { options };
            self.mark_and_delete(&pod, &guarded)?;
            return Ok(success());
        }
        let unguarded = options.resource_version.is_none();
        match self.ask_budget(&pod, &value, options.dry_run)? {
            Answer::Allowed => self.mark_and_delete(&pod, &options)?,
            Answer::NotCounted(budget) => {
                self.mark_and_delete(&pod, &with_version(&options, &pod)).map_err(|error| {
                    // The pod may just have become ready; the client asks again.
                    if error.is_conflict() && unguarded { still_processed(&budget) } else { error }
                })?;
            }
        }
        Ok(success())
    }

    /// The version of the budget that an eviction of this pod would count against; none where there is no such pod, or
    /// where no budget or several are about it.
    #[must_use]
    pub fn budget_version(&self, namespace: &str, pod: &str) -> Option<String> {
        let pod = self.get(&kinds::POD, namespace, pod).ok()?;
        match self.budgets_of(&pod).as_slice() {
            [budget] => budget.metadata.resource_version.clone(),
            _ => None,
        }
    }

    fn ask_budget(&self, pod: &Object, value: &Value, dry_run: bool) -> Result<Answer, ApiError> {
        let mut budgets = self.budgets_of(pod).into_iter();
        let (Some(budget), more) = (budgets.next(), budgets.next()) else { return Ok(Answer::Allowed) };
        if more.is_some() {
            return Err(ApiError {
                code: 500,
                reason: "",
                message:
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                        .to_owned(),
                details: Value::Null,
            });
        }
        let name = budget.metadata.name.clone().unwrap_or_default();
        if !conditions::is_ready(value) {
            let always = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref())
                == Some("AlwaysAllow");
            let (current, desired) =
                budget.status.as_ref().map_or((0, 0), |status| (status.current_healthy, status.desired_healthy));
            if always || (current >= desired && desired > 0) {
                return Ok(Answer::NotCounted(name));
            }
        }
        self.check_and_decrement(&pod.namespace, &pod.name, &name, dry_run)?;
        Ok(Answer::Allowed)
    }

    /// The budgets whose selector takes the pod. The empty selector takes all, an absent one none.
    pub(in crate::sandbox) fn budgets_of(&self, pod: &Object) -> Vec<Arc<PodDisruptionBudget>> {
        let all = self.store().list(&kinds::POD_DISRUPTION_BUDGET, Some(&pod.namespace)).1;
        let taking = all.iter().filter(|budget| {
            let selector = budget.value()["spec"]["selector"].take();
            serde_json::from_value::<Option<LabelSelector>>(selector)
                .is_ok_and(|selector| selector.is_some_and(|selector| selector.matches(&pod.labels)))
        });
        taking.filter_map(|budget| budget.typed()).collect()
    }

    fn check_and_decrement(&self, namespace: &str, pod: &str, budget: &str, dry_run: bool) -> Result<(), ApiError> {
        let options = WriteOptions { dry_run, ..WriteOptions::default() };
        let kind = &kinds::POD_DISRUPTION_BUDGET;
        let changed = self.change(kind, namespace, budget, Part::Status, &options, |mut value| {
            let observed = value["status"]["observedGeneration"].as_i64().unwrap_or(0);
            if observed < value["metadata"]["generation"].as_i64().unwrap_or(0) {
                return Err(still_processed(budget));
            }
            let status = &mut value["status"];
            let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
            let forbidden = |why| ApiError::forbidden("policy", "poddisruptionbudget", budget, why);
            if allowed < 0 {
                return Err(forbidden("pdb disruptions allowed is negative"));
            }
            if status["disruptedPods"].as_object().map_or(0, serde_json::Map::len) > DISRUPTED_PODS_MAX {
                return Err(forbidden(
                    "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
                ));
            }
            if allowed == 0 {
                let number = |field: &str| status[field].as_i64().unwrap_or(0);
                let cause = format!(
                    "The disruption budget {budget} needs {} healthy pods and has {} currently",
                    number("desiredHealthy"),
                    number("currentHealthy")
                );
                return Err(ApiError::too_many_requests(WOULD_VIOLATE, Some((CAUSE, cause)), None));
            }
            status["disruptionsAllowed"] = json!(allowed - 1);
            status["disruptedPods"][pod] = json!(names::now_seconds());
            if allowed == 1 {
                conditions::set_disruption_allowed(&mut value);
            }
            Ok(value)
        });
        changed.map(drop)
    }

    /// Marks a pod as about to be disrupted, and deletes it (`addConditionAndDeletePod`).
    fn mark_and_delete(&self, pod: &Object, options: &DeleteOptions) -> Result<(), ApiError> {
        let mut options = options.clone();
        if !options.dry_run {
            let write = WriteOptions::default();
            let marked = self.change(&kinds::POD, &pod.namespace, &pod.name, Part::Status, &write, |mut value| {
                check_preconditions(&value, &options)?;
                conditions::set_on_pod(
                    &mut value,
                    Condition {
                        kind: "DisruptionTarget",
                        status: "True",
                        reason: "EvictionByEvictionAPI",
                        message: "Eviction API: evicting",
                    },
                );
                Ok(value)
            })?;
            // This write was our own.
            if options.resource_version.is_some() {
                options.resource_version = Some(marked.version.to_string());
            }
        }
        self.delete(&kinds::POD, &pod.namespace, &pod.name, &options).map(drop)
    }
}

/// What a budget says to an eviction.
enum Answer {
    /// Go on.
    Allowed,
    /// The pod is unhealthy and not counted by this budget: go on if it has not changed.
    NotCounted(String),
}

fn budget_is_ignored(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), None | Some("Pending" | "Succeeded" | "Failed"))
        || !pod["metadata"]["deletionTimestamp"].is_null()
}

fn with_version(options: &DeleteOptions, pod: &Object) -> DeleteOptions {
    let mut options = options.clone();
    options.resource_version.get_or_insert_with(|| pod.version.to_string());
    options
}

fn check_preconditions(pod: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let name = text_at(&pod["metadata"], "name");
    let (uid, version) = (text_at(&pod["metadata"], "uid"), text_at(&pod["metadata"], "resourceVersion"));
    if let Some(asked) = options.uid.as_deref().filter(|asked| *asked != uid) {
        let why = format!(
            "the UID in the precondition ({asked}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", "Pod", &name, why));
    }
    if let Some(asked) = options.resource_version.as_deref().filter(|asked| *asked != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({asked}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        );
        return Err(ApiError::conflict("", "Pod", &name, why));
    }
    Ok(())
}

fn still_processed(budget: &str) -> ApiError {
    let cause = format!("The disruption budget {budget} is still being processed by the server.");
    ApiError::too_many_requests(WOULD_VIOLATE, Some((CAUSE, cause)), Some(RETRY_AFTER_SECONDS))
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

/// The options in an eviction.
fn delete_options(options: &Value) -> Result<DeleteOptions, ApiError> {
    let stated = Stated::read(options, "deleteOptions.").map_err(|why| {
        ApiError::bad_request(format!("Eviction in version \"v1\" cannot be handled as a Eviction: {why}"))
    })?;
    if stated.dry_run.iter().any(|one| one != "All") {
        return Err(ApiError::bad_request("Invalid value for dryRun: supported values: \"All\""));
    }
    let set = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(DeleteOptions {
        grace_seconds: stated.grace_seconds,
        propagation: stated.propagation().unwrap_or_default(),
        dry_run: !stated.dry_run.is_empty(),
        uid: set(stated.uid),
        resource_version: set(stated.resource_version),
    })
}

#[cfg(test)]
mod tests;
