//! How a cluster is named: `sandbox`, `kind:NAME` or `context:NAME`.
//!
//! The current context is never taken on its own: a run moves pods about, and must not do so in whichever cluster
//! somebody last looked at.

use std::{fmt, process::Stdio, str::FromStr};

use kube::config::Kubeconfig;
use tokio::process::Command;

/// A cluster by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum On {
    /// The embedded one, made for each experiment.
    Sandbox,
    /// A cluster that the kind command line knows.
    Kind(String),
    /// A context of the kubeconfig, from `KUBECONFIG` or `~/.kube/config`.
    Context(String),
}

/// Why a text names no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnError {
    /// Nothing says what the name is of.
    #[error(
        "{found:?} does not say where to run: write sandbox for the embedded cluster, kind:NAME for a cluster made with \
         kind, or context:NAME for a context of the kubeconfig"
    )]
    NoKind {
        /// The text as it was found.
        found: String,
    },
    /// The part before the colon is neither `kind` nor `context`.
    #[error("there is no kind of cluster called {kind:?}: write kind:{name} or context:{name}")]
    UnknownKind {
        /// The part before the colon.
        kind: String,
        /// The part after it.
        name: String,
    },
    /// There is nothing after the colon.
    #[error("{kind}: lacks the cluster's name: write {kind}:NAME")]
    NoName {
        /// The part before the colon.
        kind: String,
    },
}

impl FromStr for On {
    type Err = OnError;

    fn from_str(text: &str) -> Result<Self, OnError> {
        if text == "sandbox" {
            return Ok(Self::Sandbox);
        }
        // Only the first colon parts: names of contexts may contain further ones, as those of EKS do.
        let (kind, name) = text.split_once(':').ok_or_else(|| OnError::NoKind { found: text.to_owned() })?;
        let make: fn(String) -> Self = match kind {
            "kind" => Self::Kind,
            "context" => Self::Context,
            _ => return Err(OnError::UnknownKind { kind: kind.to_owned(), name: name.to_owned() }),
        };
        if name.is_empty() {
            return Err(OnError::NoName { kind: kind.to_owned() });
        }
        Ok(make(name.to_owned()))
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox => f.write_str("sandbox"),
            Self::Kind(name) => write!(f, "kind:{name}"),
            Self::Context(name) => write!(f, "context:{name}"),
        }
    }
}

/// Every cluster that could be written after `--on`: kind's clusters, then the kubeconfig's contexts. Empty where
/// neither can be asked, since this only helps an error message along.
pub async fn known() -> Vec<On> {
    let mut all = kind_clusters().await;
    all.extend(contexts());
    all
}

/// The contexts of the kubeconfig.
pub(super) fn contexts() -> Vec<On> {
    Kubeconfig::read().map_or_else(
        |_| Vec::new(),
        |config| config.contexts.into_iter().map(|context| On::Context(context.name)).collect(),
    )
}

/// The clusters that the kind command line lists; it says on standard error when there are none.
pub(super) async fn kind_clusters() -> Vec<On> {
    let listed = Command::new("kind").args(["get", "clusters"]).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let Ok(listed) = listed else { return Vec::new() };
    String::from_utf8_lossy(&listed.stdout).lines().map(|name| On::Kind(name.trim().to_owned())).collect()
}

/// `known` as the end of an error message.
pub(super) fn there_are(known: &[On]) -> String {
    if known.is_empty() {
        return "none was found".to_owned();
    }
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    format!("there is {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_its_kind_and_its_name() {
        let table = [
            ("sandbox", On::Sandbox),
            ("kind:dev", On::Kind("dev".to_owned())),
            ("context:prod", On::Context("prod".to_owned())),
            ("context:arn:aws:eks:eu:1:cluster/a", On::Context("arn:aws:eks:eu:1:cluster/a".to_owned())),
        ];
        for (text, on) in table {
            assert_eq!(text.parse::<On>(), Ok(on.clone()), "{text}");
            assert_eq!(on.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_cluster_is_told_what_to_write() {
        for text in ["", "dev", "sandbox:", "Sandbox", "kind:", "context:", "k3d:dev", ":dev", "KIND:dev"] {
            let error = text.parse::<On>().unwrap_err().to_string();
            let told = ["write sandbox", "write kind:", "write context:"].iter().any(|words| error.contains(words));
            assert!(told, "{text}: {error}");
        }
    }
}
