//! The Lease of another run: whether it is at work or was interrupted, and what it has left to undo.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::time::Instant;

use super::{ANNOTATION, LASTS_S, NAME, NAMESPACE, RENEW_EVERY, holder_of, of_run};
use crate::fault::{
    api::{ApiError, call, found},
    ledger::{
        HoldError,
        paper::{self, Slip},
    },
};

/// A Lease of another run.
#[derive(Debug, Clone)]
pub struct Left {
    pub(super) lease: Lease,
    /// What is in it.
    pub slip: Slip,
}

/// The Lease as it stands; nothing where there is none.
///
/// # Errors
/// When it cannot be asked for, or holds what cannot be read.
pub async fn look(client: &Client) -> Result<Option<Left>, HoldError> {
    let failed = |source| HoldError::Api { attempted: "look at", source };
    let api: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let Some(lease) = found(call(api.get(NAME)).await).map_err(failed)? else { return Ok(None) };
    let annotations = lease.metadata.annotations.clone().unwrap_or_default();
    let text = annotations.get(ANNOTATION).map_or("", String::as_str);
    let slip = paper::read_slip(text).map_err(|problem| {
        failed(ApiError::Refused {
            code: 0,
            message: format!("its annotation {ANNOTATION} cannot be read: {problem}"),
            causes: Vec::new(),
            retry_after_s: 0,
        })
    })?;
    Ok(Some(Left { lease, slip }))
}

impl Left {
    /// Who held it.
    #[must_use]
    pub fn holder(&self) -> String {
        // Whoever wrote it may have written anything.
        holder_of(&self.lease).chars().filter(|c| !c.is_control()).take(200).collect()
    }

    /// Whether this run holds it; not one that took it over.
    #[must_use]
    pub fn is_held_by(&self, run: &str) -> bool {
        holder_of(&self.lease).ends_with(&of_run(run))
    }

    /// Since when nothing has been heard of it, in seconds, by the two machines' calendars.
    #[must_use]
    pub fn age_s(&self) -> i64 {
        let renewed = self.lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        renewed.map_or(i64::MAX, |at| jiff::Timestamp::now().duration_since(at.0).as_secs())
    }

    fn lasts_s(&self) -> i64 {
        i64::from(self.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(LASTS_S))
    }

    /// Why another run cannot begin beside it.
    #[must_use]
    pub fn refusal(&self, on: &str) -> HoldError {
        let (holder, age_s) = (self.holder(), self.age_s());
        let experiment = &self.slip.experiment;
        let about = if experiment.is_empty() { String::new() } else { format!(", with experiment {experiment:?}") };
        if age_s <= self.lasts_s() {
            return HoldError::Busy { holder, about, age_s };
        }
        let left = match self.slip.due.len() {
            0 => "nothing but its lease".to_owned(),
            1 => format!("one thing to undo ({})", self.slip.due[0].action()),
            many => format!("{many} things to undo ({}, …)", self.slip.due[0].action()),
        };
        HoldError::Dead { holder, about, age_s, left, on: on.to_owned() }
    }

    /// Sees whether its holder is over: nothing renews it for as long as it lasts. The calendars of two machines can
    /// differ by minutes, so what counts is what is seen here; where it is long past by the calendar as well, two
    /// renewals that do not come are enough.
    ///
    /// # Errors
    /// When it is renewed, or cannot be asked for.
    pub async fn is_over(self, client: &Client, on: &str) -> Result<Option<Self>, HoldError> {
        let lasts = Duration::from_secs(u64::try_from(self.lasts_s()).unwrap_or_default());
        let long_past = self.age_s() > 10 * self.lasts_s();
        let needed = if long_past { lasts.min(RENEW_EVERY * 2 + Duration::from_secs(2)) } else { lasts };
        let since = Instant::now();
        let seen = self.lease.metadata.resource_version.clone();
        loop {
            let Some(now) = look(client).await? else { return Ok(None) };
            if now.lease.metadata.resource_version != seen {
                return Err(now.refusal(on));
            }
            if since.elapsed() >= needed {
                return Ok(Some(now));
            }
            tokio::time::sleep(Duration::from_secs(1).min(needed)).await;
        }
    }
}
