//! kind and the engine stood in for by shell scripts, for what a real cluster cannot be made to do: fail at a given
//! moment, hang, or keep what it was told to forget.

use std::{
    ffi::OsStr,
    fs, future,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::timeout;

use super::{
    Kind, KindError, cluster_name,
    command::{CommandError, Program},
    flow_entries,
};

/// Far above anything that a test waits for on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder in which the stand-ins write their calls to `calls`, and keep a cluster as the file `cluster`.
struct Rig {
    folder: TempDir,
    kind: Kind,
}

impl Rig {
    /// kind as a script; `$1 $2` are the command, `$HERE` the folder.
    fn new(kind: &str, engine: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let with_calls = |name: &str, script: &str| {
            let here = folder.path().display();
            Program::script(name, &format!("HERE='{here}'; echo \"{name} $*\" >>$HERE/calls\n{script}"))
        };
        let kind = Kind {
            cli: with_calls("kind", kind),
            engine: with_calls("docker", engine),
            delete_pause: Duration::from_millis(1),
        };
        for file in ["config.yaml", "image.tar", "calls"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        Self { folder, kind }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    async fn up(&self, stop: impl Future<Output = ()>) -> Result<(), KindError> {
        let (config, archive) = (self.path("config.yaml"), self.path("image.tar"));
        timeout(PATIENCE, self.kind.up(&config, "try", Some("node:1"), &archive, stop, |_| {})).await.unwrap()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap()
    }
}

/// A kind that keeps its cluster in a file; what `create` does beyond that is given.
fn kind_that(create: &str) -> String {
    format!(
        r#"case "$1 $2" in
            "get clusters") [ -e $HERE/cluster ] && echo try; exit 0;;
            "create cluster") touch $HERE/cluster; {create};;
            "delete cluster") rm -f $HERE/cluster;;
            *) exit 0;;
        esac"#
    )
}

#[tokio::test]
async fn a_cluster_that_cannot_be_made_is_deleted_and_the_error_says_what_kind_said() {
    let rig = Rig::new(&kind_that("echo 'port 30080 is taken' >&2; exit 3"), "");
    let error = rig.up(future::pending()).await.unwrap_err();
    let KindError::NotCreated { failure: CommandError::Failed { command, status, stderr }, hint } = &error else {
        panic!("{error}")
    };
    assert!(command.contains("create cluster --name try --wait 120s --config"), "{command}");
    assert!(command.ends_with("--image node:1"), "{command}");
    assert_eq!((status.code(), stderr.as_str()), (Some(3), "port 30080 is taken"));
    assert_eq!(hint, "");
    assert!(!rig.path("cluster").exists());
}

#[tokio::test]
async fn a_node_that_did_not_start_on_a_machine_short_of_inotify_instances_gets_advice() {
    for (words, limit, advised) in [
        ("[kubelet-check] The kubelet is not healthy after 4m0s", Some(128), true),
        ("cannot exec in a stopped state: unknown", Some(128), true),
        ("cannot exec in a stopped state: unknown", Some(1_024), false),
        ("cannot exec in a stopped state: unknown", None, false),
        ("port is already allocated", Some(128), false),
    ] {
        let failed = Program::script("kind", &format!("echo '{words}' >&2; exit 1"));
        let error = KindError::not_created(failed.run(&[], PATIENCE).await.unwrap_err(), limit).to_string();
        assert_eq!(error.contains("fs.inotify.max_user_instances=512"), advised, "{error}");
    }
}

#[tokio::test]
async fn a_cluster_that_was_there_before_is_never_touched() {
    let rig = Rig::new(&kind_that("exit 1"), "");
    fs::write(rig.path("cluster"), "").unwrap();
    let error = rig.up(future::pending()).await.unwrap_err();
    assert!(matches!(error, KindError::AlreadyThere { .. }), "{error}");
    assert_eq!(rig.calls(), "kind get clusters\n");
    assert!(rig.path("cluster").exists());
}

#[tokio::test]
async fn told_to_stop_it_ends_kind_with_its_children_and_deletes_what_was_made() {
    let rig = Rig::new(&kind_that("(sleep 1; touch $HERE/late) & echo $! >$HERE/child; wait; exit 0"), "");
    let child = rig.path("child");
    let stop = async move {
        while !child.exists() {
            tokio::task::yield_now().await;
        }
    };
    let error = rig.up(stop).await.unwrap_err();
    assert!(matches!(error, KindError::Stopped { .. }), "{error}");
    assert!(!rig.path("cluster").exists());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!rig.path("late").exists(), "a process that kind had started went on");
}

#[tokio::test]
async fn a_deletion_that_the_engine_does_not_carry_out_at_once_is_repeated_until_nothing_appears_any_more() {
    // The engine keeps the container at first, and brings it back once after it was gone.
    let late = kind_that("exit 1").replace(
        "rm -f $HERE/cluster",
        "echo >>$HERE/tries; case $(wc -l <$HERE/tries) in 1) exit 1;; 2) ;; 4) touch $HERE/cluster;; *) rm -f $HERE/cluster;; esac",
    );
    let rig = Rig::new(&late, "");
    let error = rig.up(future::pending()).await.unwrap_err();
    assert!(matches!(error, KindError::NotCreated { .. }), "{error}");
    assert!(!rig.path("cluster").exists());
    assert_eq!(fs::read_to_string(rig.path("tries")).unwrap().lines().count(), 7);
}

#[tokio::test]
async fn what_cannot_be_deleted_is_named_beside_the_first_failure() {
    let stubborn = kind_that("echo first >&2; exit 1").replace("rm -f $HERE/cluster", "echo second >&2; exit 1");
    let error = Rig::new(&stubborn, "").up(future::pending()).await.unwrap_err();
    let KindError::LeftBehind { failure, source, .. } = &error else { panic!("{error}") };
    assert!(failure.to_string().ends_with("first") && source.to_string().ends_with("second"), "{error}");
    assert!(error.to_string().contains("kind delete cluster --name try"), "{error}");

    let deaf = kind_that("exit 1").replace("rm -f $HERE/cluster", "true");
    let error = Rig::new(&deaf, "").up(future::pending()).await.unwrap_err();
    let KindError::LeftBehind { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, KindError::NotDeleted { .. }), "{source}");
}

#[tokio::test]
async fn a_missing_file_is_found_before_anything_is_run() {
    let rig = Rig::new(&kind_that("exit 0"), "");
    for file in ["config.yaml", "image.tar"] {
        fs::remove_file(rig.path(file)).unwrap();
        let error = rig.up(future::pending()).await.unwrap_err();
        assert!(matches!(&error, KindError::Read { path, .. } if *path == rig.path(file)), "{error}");
        fs::write(rig.path(file), "").unwrap();
    }
    assert_eq!(rig.calls(), "");
}

#[tokio::test]
async fn down_deletes_a_cluster_and_says_which_there_are_when_there_is_none_of_the_name() {
    let rig = Rig::new(&kind_that("exit 0"), "");
    fs::write(rig.path("cluster"), "").unwrap();
    let error = rig.kind.down("other").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no kind cluster \"other\"; there are: try");
    rig.kind.down("try").await.unwrap();
    assert!(!rig.path("cluster").exists());
}

#[tokio::test]
async fn the_load_balancer_is_not_a_node() {
    let rig = Rig::new("printf 'try-control-plane\\ntry-external-load-balancer\\ntry-worker\\n'", "");
    assert_eq!(rig.kind.nodes("try").await.unwrap(), ["try-control-plane", "try-worker"]);
}

#[tokio::test]
async fn a_cluster_without_nodes_does_not_exist() {
    let rig = Rig::new(&kind_that("exit 0"), "");
    assert!(matches!(rig.kind.nodes("try").await, Err(KindError::NoSuchCluster { .. })));
}

#[tokio::test]
async fn a_program_that_is_not_installed_is_an_error_that_says_so() {
    let kind = Kind { cli: Program::new("no-such-kind"), ..Kind::from_env() };
    let error = kind.clusters().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot run `no-such-kind get clusters`; is it installed and on the PATH?");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended() {
    let slow = Program::script("slow", "sleep 60");
    let error = slow.run(&[OsStr::new("on")], Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, CommandError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_failure_quotes_the_last_words_of_a_talkative_command() {
    let talkative = Program::script("talk", "yes 'ä' | head -n 5000 >&2; echo the end >&2; exit 1");
    let CommandError::Failed { stderr, .. } = talkative.run(&[], PATIENCE).await.unwrap_err() else { panic!() };
    assert!(stderr.ends_with("the end") && stderr.len() <= 4_096);
}

/// An engine whose node tracks as many connections as the file `$HERE/NODE` says; deleting does what is given.
fn engine_that(delete: &str) -> String {
    format!(
        r#"had=$(cat $HERE/$2)
        case "$4" in
            -L) echo "conntrack v1.4.7 (conntrack-tools): $had flow entries have been shown." >&2;;
            -D) {delete}
                echo "conntrack v1.4.7 (conntrack-tools): $had flow entries have been deleted." >&2
                [ "$had" != 0 ];;
        esac"#
    )
}

async fn forget(engine: &str, tracked: [u64; 2]) -> (Result<u64, KindError>, String) {
    let rig = Rig::new("", engine);
    let nodes = ["a", "b"].map(str::to_owned);
    for (node, tracked) in nodes.iter().zip(tracked) {
        fs::write(rig.path(node), tracked.to_string()).unwrap();
    }
    (rig.kind.forget_connections(&nodes, 30_080).await, rig.calls())
}

#[tokio::test]
async fn connections_are_forgotten_on_every_node_and_none_to_forget_is_no_error() {
    let (forgotten, calls) = forget(&engine_that("echo 0 >$HERE/$2"), [3, 0]).await;
    assert_eq!(forgotten.unwrap(), 3);
    assert!(calls.contains("docker exec a conntrack -D -p tcp --orig-port-dst 30080\n"), "{calls}");
    assert!(calls.contains("docker exec b conntrack -L -p tcp --orig-port-dst 30080\n"), "{calls}");
}

#[tokio::test]
async fn connections_that_come_back_are_forgotten_again() {
    let (forgotten, _) = forget(&engine_that("echo $((had - 1)) >$HERE/$2; had=1"), [3, 1]).await;
    assert_eq!(forgotten.unwrap(), 4);
}

#[tokio::test]
async fn connections_that_stay_are_an_error() {
    let (forgotten, _) = forget(&engine_that(":"), [0, 2]).await;
    let error = forgotten.unwrap_err();
    assert!(matches!(error, KindError::ConnectionsLeft { port: 30_080, left: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_is_an_error() {
    let (forgotten, _) = forget("echo 'container a is not running' >&2; exit 1", [0, 0]).await;
    assert!(forgotten.unwrap_err().to_string().ends_with("container a is not running"));
    let (forgotten, _) = forget("echo 'what?' >&2", [0, 0]).await;
    assert!(matches!(forgotten, Err(KindError::Conntrack { .. })));
}

#[test]
fn conntracks_count_is_read_from_its_sentence() {
    let said = |count: &str, done: &str| {
        format!("conntrack v1.4.7 (conntrack-tools): {count} flow entries have been {done}.\n")
    };
    assert_eq!(flow_entries(&said("0", "deleted")), Some(0));
    assert_eq!(flow_entries(&said("1234", "shown")), Some(1_234));
    assert_eq!(flow_entries("conntrack v1.4.7 (conntrack-tools): Operation failed"), None);
}

#[test]
fn a_clusters_name_is_the_given_one_or_the_configurations_or_evenkeel() {
    let folder = tempfile::tempdir().unwrap();
    let config = |text: &str| {
        let path = folder.path().join("config.yaml");
        fs::write(&path, text).unwrap();
        path
    };
    let named = "kind: Cluster\nname: shop\nnodes:\n- role: worker\n";
    assert_eq!(cluster_name(&config(named), Some("try")).unwrap(), "try");
    assert_eq!(cluster_name(&config(named), None).unwrap(), "shop");
    assert_eq!(cluster_name(&config("kind: Cluster\n"), None).unwrap(), "evenkeel");
    assert!(matches!(cluster_name(&config("name: [\n"), None), Err(KindError::Config { .. })));
    assert!(matches!(cluster_name(Path::new("/no/such/file"), None), Err(KindError::Read { .. })));
}

#[test]
fn every_kind_configuration_publishes_its_ports_on_loopback_through_a_control_plane_and_says_what_it_is_for() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kind-configs");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.starts_with("# "), "{text}");
        let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let mappings = |node: &serde_json::Value| node["extraPortMappings"].as_array().cloned().unwrap_or_default();
        let nodes = config["nodes"].as_array().unwrap();
        let published: Vec<_> = nodes.iter().filter(|node| !mappings(node).is_empty()).collect();
        assert_eq!(published.len(), 1);
        assert_eq!(published[0]["role"], "control-plane");
        for (mapping, port) in mappings(published[0]).iter().zip([30_080, 30_081]) {
            assert_eq!(mapping["listenAddress"], "127.0.0.1");
            assert_eq!((&mapping["containerPort"], &mapping["hostPort"]), (&port.into(), &port.into()));
        }
        assert_eq!(nodes.iter().filter(|node| node["role"] == "worker").count(), 3);
        seen += 1;
    }
    assert_eq!(seen, 3);
}
