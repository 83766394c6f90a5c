//! Power over the nodes of the cluster: the sandbox's own, and on kind the container engine's, whose containers are the
//! nodes.

use evenkeel::sandbox::Nodes;

/// Who has power over nodes.
#[derive(Clone)]
pub enum Power {
    /// The sandbox.
    Sandbox(Nodes),
    /// A container engine, by its command.
    Engine(String),
}

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Power loss.
    Stop,
    /// Power returns, and the node boots.
    Start,
    /// It is frozen.
    Pause,
    /// It goes on.
    Unpause,
}

impl Deed {
    /// What takes it back.
    pub const fn undo(self) -> Self {
        match self {
            Self::Stop => Self::Start,
            Self::Start => Self::Stop,
            Self::Pause => Self::Unpause,
            Self::Unpause => Self::Pause,
        }
    }
}

impl Power {
    /// Does something to a node, and returns when it is done.
    pub async fn act(&self, deed: Deed, node: &str) {
        match self {
            Self::Sandbox(nodes) => {
                let act = match deed {
                    Deed::Stop => Nodes::stop,
                    Deed::Start => Nodes::start,
                    Deed::Pause => Nodes::pause,
                    Deed::Unpause => Nodes::unpause,
                };
                act(nodes, node).unwrap();
            }
            Self::Engine(engine) => {
                let args: &[&str] = match deed {
                    // Without the ten seconds in which the node would shut down in good order.
                    Deed::Stop => &["stop", "-t", "0"],
                    Deed::Start => &["start"],
                    Deed::Pause => &["pause"],
                    Deed::Unpause => &["unpause"],
                };
                let ended = tokio::process::Command::new(engine).args(args).arg(node).output().await;
                let output = ended.unwrap_or_else(|error| panic!("{engine} {args:?} {node}: {error}"));
                assert!(
                    output.status.success(),
                    "{engine} {args:?} {node}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
    }
}
