//! A Lease in the cluster, held and renewed while a run is under way: it keeps two runs apart, and carries what the
//! run has to undo, so that anybody who reaches the cluster can finish it.
//!
//! One object for both, so that they cannot differ: whoever takes the Lease over has the list. It lies in namespace
//! `default`, the one that every cluster has and that nobody can remove, and is gone when the run is over.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions},
};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    HoldError, LedgerError,
    paper::{self, Slip},
};
use crate::{
    cluster::apply::{FIELD_MANAGER, MANAGED_BY},
    fault::{
        api::{ApiError, call, found},
        undo::Undo,
    },
};

mod left;

pub use left::{Left, look};

/// The namespace of the Lease.
pub const NAMESPACE: &str = crate::plan::rights::LEASE_NAMESPACE;

/// The Lease's name: one for each cluster.
pub const NAME: &str = "evenkeel";

/// The annotation that carries what is to be undone.
pub const ANNOTATION: &str = "evenkeel/undo";

/// So long it is held without being renewed, in seconds: an API server that restarts is away for half of it.
const LASTS_S: i32 = 30;

/// The same as a span.
const LASTS: Duration = Duration::from_secs(LASTS_S.unsigned_abs() as u64);

/// Between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// How long writing what is to be undone may take, over an API server that is away for a moment.
const WRITTEN_WITHIN: Duration = Duration::from_secs(15);

/// How long removing the Lease may take.
const RELEASED_WITHIN: Duration = Duration::from_secs(30);

/// Between a request that failed and its repetition.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Writes that collide with another's, in a row: each is answered by the other's success.
const CONFLICTS_MAX: u32 = 8;

/// The largest list, in bytes: the API server takes 256 KiB of annotations.
const SLIP_MAX: usize = 200 << 10;

/// The cluster, held for a run. Dropped without [`Hold::release`], the Lease stays and expires.
pub struct Hold {
    inner: Arc<Inner>,
    renewing: JoinHandle<()>,
}

struct Inner {
    api: Api<Lease>,
    holder: String,
    state: Mutex<State>,
    lost: watch::Sender<Option<String>>,
    until: watch::Sender<Instant>,
}

struct State {
    lease: Lease,
    slip: Slip,
}

/// Why a write did not come through.
enum Unwritten {
    Api(ApiError),
    Lost(String),
}

/// A new id of a run: the time, and something that no other has.
#[must_use]
pub fn new_run() -> String {
    // The standard library's randomly keyed hasher is the randomness at hand.
    let random = RandomState::new().hash_one(NAME);
    format!("{}-{:08x}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"), random & 0xffff_ffff)
}

/// Who this is, for the other side: the user, the machine and the process.
fn holder(run: &str) -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let plain = |text: String| text.chars().filter(|c| !c.is_control()).take(64).collect::<String>();
    format!("{}@{} (process {}{}", plain(user), plain(machine), std::process::id(), of_run(run))
}

/// How a holder ends that is this run.
fn of_run(run: &str) -> String {
    format!(", run {run})")
}

impl Hold {
    /// Takes a cluster that nobody holds.
    ///
    /// # Errors
    /// When another run is under way or was interrupted, or the Lease cannot be made.
    pub async fn take(client: &Client, run: &str, on: &str) -> Result<Arc<Self>, HoldError> {
        let api = Api::namespaced(client.clone(), NAMESPACE);
        let slip = Slip { format: paper::FORMAT, run: run.to_owned(), experiment: String::new(), due: Vec::new() };
        let holder = holder(run);
        // A Lease that goes away between the two requests is tried again once.
        for _ in 0..2 {
            let lease = lease(&holder, &slip, None);
            match call(api.create(&parameters(), &lease)).await {
                Ok(lease) => return Ok(Self::begin(api, holder, State { lease, slip })),
                Err(error) if error.code() == 409 => {}
                Err(source) => return Err(HoldError::Api { attempted: "create", source }),
            }
            if let Some(other) = look(client).await? {
                return Err(other.refusal(on));
            }
        }
        Err(HoldError::Api {
            attempted: "create",
            source: ApiError::Refused {
                code: 409,
                message: "it comes and goes".to_owned(),
                causes: Vec::new(),
                retry_after_s: 0,
            },
        })
    }

    /// Takes over what another left behind, or makes the Lease anew where it is gone. The caller knows that the other
    /// is over.
    ///
    /// # Errors
    /// When it cannot be written, as when somebody else was quicker.
    pub async fn take_over(client: &Client, left: Option<Left>, run: &str) -> Result<Arc<Self>, HoldError> {
        let api = Api::namespaced(client.clone(), NAMESPACE);
        let holder = holder(run);
        let (slip, written) = if let Some(left) = left {
            let lease = lease(&holder, &left.slip, Some(left.lease));
            (left.slip, call(api.replace(NAME, &parameters(), &lease)).await)
        } else {
            let slip = Slip { format: paper::FORMAT, run: run.to_owned(), experiment: String::new(), due: Vec::new() };
            let written = call(api.create(&parameters(), &lease(&holder, &slip, None))).await;
            (slip, written)
        };
        let lease = written.map_err(|source| HoldError::Api { attempted: "take over", source })?;
        Ok(Self::begin(api, holder, State { lease, slip }))
    }

    fn begin(api: Api<Lease>, holder: String, state: State) -> Arc<Self> {
        let (lost, until) = (watch::Sender::new(None), watch::Sender::new(Instant::now() + LASTS));
        let inner = Arc::new(Inner { api, holder, state: Mutex::new(state), lost, until });
        let renewed = Arc::clone(&inner);
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                let mut state = renewed.state.lock().await;
                // What the API server does not take now is tried again at the next turn.
                if let Err(Unwritten::Lost(by)) = renewed.put(&mut state).await {
                    renewed.lost.send_replace(Some(by));
                    return;
                }
            }
        });
        Arc::new(Self { inner, renewing })
    }

    /// Which experiment it is about, for others to read; told with the next write.
    pub(super) async fn about(&self, experiment: &str) {
        experiment.clone_into(&mut self.inner.state.lock().await.slip.experiment);
    }

    /// Returns when another has taken the cluster over, with its name.
    pub async fn lost(&self) -> String {
        let mut lost = self.inner.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(by) => by.clone().unwrap_or_default(),
            // The other end lives as long as this.
            Err(_) => std::future::pending().await,
        }
    }

    /// Until when the Lease holds if it is not renewed again: what stands under it ends then.
    #[must_use]
    pub fn until(&self) -> watch::Receiver<Instant> {
        self.inner.until.subscribe()
    }

    /// Adds what an act is about to change; it stands in the cluster when this returns well.
    pub(super) async fn add(&self, undo: &Undo) -> Result<(), LedgerError> {
        let mut state = self.inner.state.lock().await;
        state.slip.due.push(undo.clone());
        let written = match text_of(&state.slip) {
            text if text.len() > SLIP_MAX || state.slip.due.len() > paper::ENTRIES_MAX => Err(LedgerError::Full),
            _ => self.inner.write(&mut state).await,
        };
        if written.is_err() {
            state.slip.due.pop();
        }
        written
    }

    /// Takes out what has been undone.
    pub(super) async fn remove(&self, undo: &Undo) -> Result<(), LedgerError> {
        let mut state = self.inner.state.lock().await;
        let before = state.slip.due.len();
        state.slip.due.retain(|due| !due.is_about_the_same(undo));
        if state.slip.due.len() == before { Ok(()) } else { self.inner.write(&mut state).await }
    }

    /// Gives the cluster back; the Lease is gone when this returns well. Where something has not been undone it stays,
    /// so that `recover` finds it.
    ///
    /// # Errors
    /// When the Lease could not be removed, or what is left in it.
    pub async fn release(&self) -> Result<(), String> {
        self.renewing.abort();
        let state = self.inner.state.lock().await;
        if !state.slip.due.is_empty() {
            let left: Vec<String> = state.slip.due.iter().map(Undo::action).collect();
            return Err(format!("lease {NAMESPACE}/{NAME} stays, with what is to be undone: {}", left.join(", ")));
        }
        let preconditions = Some(Preconditions { uid: state.lease.metadata.uid.clone(), resource_version: None });
        let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
        let deadline = Instant::now() + RELEASED_WITHIN;
        loop {
            match found(call(self.inner.api.delete(NAME, &parameters)).await) {
                Ok(_) => return Ok(()),
                // Another Lease has its name: this one is gone.
                Err(error) if error.code() == 409 => return Ok(()),
                Err(error) if !error.is_transient() || Instant::now() >= deadline => {
                    return Err(format!(
                        "lease {NAMESPACE}/{NAME} could not be removed: {error}; by hand: kubectl -n {NAMESPACE} \
                         delete lease {NAME}"
                    ));
                }
                Err(_) => tokio::time::sleep(RETRY_EVERY).await,
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Inner {
    /// Writes until it is taken, the time is up, or the Lease is another's.
    async fn write(&self, state: &mut State) -> Result<(), LedgerError> {
        let deadline = Instant::now() + WRITTEN_WITHIN;
        loop {
            match self.put(state).await {
                Ok(()) => return Ok(()),
                Err(Unwritten::Lost(by)) => {
                    self.lost.send_replace(Some(by.clone()));
                    return Err(LedgerError::Lost { by });
                }
                Err(Unwritten::Api(error)) if !error.is_transient() || Instant::now() >= deadline => {
                    return Err(LedgerError::Cluster(error));
                }
                Err(Unwritten::Api(_)) => tokio::time::sleep(RETRY_EVERY).await,
            }
        }
    }

    /// Writes once, over whatever changed the object without taking it from us.
    async fn put(&self, state: &mut State) -> Result<(), Unwritten> {
        for _ in 0..CONFLICTS_MAX {
            // Reckoned from before the request, so that nobody thinks it ends later than the cluster does.
            let until = Instant::now() + LASTS;
            let wanted = lease(&self.holder, &state.slip, Some(state.lease.clone()));
            let written = match call(self.api.replace(NAME, &parameters(), &wanted)).await {
                // Somebody removed it: it is made again, unless another is quicker.
                Err(error) if error.is_not_found() => {
                    call(self.api.create(&parameters(), &lease(&self.holder, &state.slip, None))).await
                }
                other => other,
            };
            match written {
                Ok(lease) => {
                    state.lease = lease;
                    self.until.send_replace(until);
                    return Ok(());
                }
                Err(error) if error.code() == 409 => {}
                Err(error) => return Err(Unwritten::Api(error)),
            }
            match found(call(self.api.get(NAME)).await).map_err(Unwritten::Api)? {
                Some(now) if holder_of(&now) == self.holder => state.lease = now,
                Some(now) => return Err(Unwritten::Lost(holder_of(&now).to_owned())),
                None => {}
            }
        }
        Err(Unwritten::Api(ApiError::NoAnswer(WRITTEN_WITHIN)))
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn text_of(slip: &Slip) -> String {
    // Names and numbers alone: nothing in it can fail to be written.
    serde_json::to_string(slip).unwrap_or_default()
}

/// The Lease as it is to be, over one that is there or none.
fn lease(holder: &str, slip: &Slip, over: Option<Lease>) -> Lease {
    let now = MicroTime(jiff::Timestamp::now());
    let before = over.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let same = before.holder_identity.as_deref() == Some(holder);
    let transitions = before.lease_transitions.unwrap_or(0) + i32::from(over.is_some() && !same);
    let mut metadata = over.map_or_else(
        || ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some(BTreeMap::from([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())])),
            ..ObjectMeta::default()
        },
        |lease| lease.metadata,
    );
    metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), text_of(slip));
    let spec = LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(LASTS_S),
        acquire_time: if same { before.acquire_time } else { Some(now.clone()) },
        renew_time: Some(now),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    Lease { metadata, spec: Some(spec) }
}

fn holder_of(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
