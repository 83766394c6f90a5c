//! What a living pod needs next: its address, its volumes, its containers one after another, restarts with back-off, and
//! its end when nothing is left to run (`kuberuntime_manager.go` computePodActions and `SyncPod`, `kuberuntime_container.go`
//! startContainer, `k/pkg/kubelet/images/image_manager.go`, v1.34.4).

use std::{path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Container, Secret};
use tokio::time::Instant;

use super::{
    back_off::{BackOff, go_duration},
    env::{self, Place, expand},
    facts::{Ended, Role, State, container_id},
    hook,
    log::Log,
    pod_worker::{Event, Slot, Stage, Worker},
    process::{Process, ProcessSpec},
    program::{self, NoProgram, Program, Rules},
    time_now,
};
use crate::sandbox::controllers::events::Severity;

/// How soon a pod with something missing is looked at again (`backOffPeriod`).
const AGAIN: Duration = Duration::from_secs(10);

/// How soon after a failed pull the back-off from it is told, and a container that did not start is tried once more:
/// upstream's relist.
const RELIST: Duration = Duration::from_secs(1);

/// How soon missing volumes are looked for again.
const VOLUMES_AGAIN: Duration = Duration::from_millis(500);

/// The deadline's words (`k/pkg/kubelet/active_deadline.go`).
const DEADLINE: (&str, &str) = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");

impl Worker {
    /// Does what is due.
    pub(super) async fn sync(&mut self) {
        if self.stage == Stage::Living {
            self.live();
        }
        if matches!(self.stage, Stage::Ending { .. }) {
            self.go_on_ending().await;
        }
    }

    fn live(&mut self) {
        if self.seen.gone || self.seen.pod.metadata.deletion_timestamp.is_some() {
            self.begin_ending();
            return;
        }
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            let (reason, message) = DEADLINE;
            self.recorder.pod(Severity::Normal, reason, message);
            self.own.failed = Some((reason.to_owned(), message.to_owned()));
            self.begin_ending();
            return;
        }
        self.kill_changed();
        if self.nothing_left_to_run() {
            self.begin_ending();
            return;
        }
        if self.take_address() && self.volumes_are_there() {
            self.start_due();
        }
    }

    /// Whether all main containers have ended for good, or an init container has failed for good.
    fn nothing_left_to_run(&self) -> bool {
        let mut mains = self.slots.iter().filter(|slot| slot.role == Role::Main);
        let finished =
            mains.all(|slot| matches!(&slot.facts.state, State::Ended(ended) if !self.restarts(slot, ended)));
        let init_failed = self.slots.iter().any(|slot| {
            slot.role == Role::Init
                && self.restart_policy() == "Never"
                && matches!(&slot.facts.state, State::Ended(ended) if ended.code != 0)
        });
        finished || init_failed
    }

    fn restarts(&self, slot: &Slot, ended: &Ended) -> bool {
        match (slot.role, self.restart_policy()) {
            (Role::Sidecar, _) | (Role::Main, "Always") => true,
            (_, "Never") => false,
            // Init containers run again until they succeed, whether the pod says Always or OnFailure.
            _ => ended.code != 0,
        }
    }

    /// The pod's own address, from its first container to its end.
    fn take_address(&mut self) -> bool {
        if self.own.pod_ip.is_some() {
            return true;
        }
        let now = Instant::now();
        let made_at = *self.set_up_since.get_or_insert(now) + self.shared.options.pod_start;
        self.set_up_again = self.set_up_again.max(Some(made_at)).filter(|at| *at > now);
        if self.set_up_again.is_some() {
            return false;
        }
        let spec = self.seen.pod.spec.as_ref();
        let address = if spec.and_then(|spec| spec.host_network) == Some(true) {
            self.node.address
        } else {
            match self.shared.addresses.take_usable() {
                Ok(address) => address,
                Err(error) => {
                    let message = format!("Failed to create pod sandbox: {}", crate::failure::chain(&error));
                    self.recorder.pod(Severity::Warning, "FailedCreatePodSandBox", &message);
                    self.set_up_again = Some(now + AGAIN);
                    return false;
                }
            }
        };
        self.set_up_since = None;
        self.handle.set_address(Some(address));
        self.own.pod_ip = Some(address.to_string());
        true
    }

    /// Whether the `ConfigMaps` and Secrets of the pod's volumes exist. Their contents are for containers to see, which
    /// have no file system of their own here.
    fn volumes_are_there(&mut self) -> bool {
        if self.slots.iter().any(|slot| slot.run > 0) {
            return true;
        }
        let now = Instant::now();
        if self.set_up_again.is_some_and(|retry| retry > now) {
            return false;
        }
        let missing = self.missing_volume();
        self.set_up_again = missing.is_some().then_some(now + VOLUMES_AGAIN);
        if let Some(message) = &missing {
            self.recorder.pod(Severity::Warning, "FailedMount", message);
        }
        missing.is_none()
    }

    fn missing_volume(&self) -> Option<String> {
        let registry = &self.shared.registry;
        let namespace = &self.handle.namespace;
        self.seen.pod.spec.as_ref()?.volumes.iter().flatten().find_map(|volume| {
            let gone = |what: &str, name: &str| {
                format!("MountVolume.SetUp failed for volume {:?} : {what} {name:?} not found", volume.name)
            };
            if let Some(wanted) = volume.config_map.as_ref().filter(|wanted| wanted.optional != Some(true)) {
                return registry
                    .find::<ConfigMap>(namespace, &wanted.name)
                    .is_none()
                    .then(|| gone("configmap", &wanted.name));
            }
            let wanted = volume.secret.as_ref().filter(|wanted| wanted.optional != Some(true))?;
            let name = wanted.secret_name.clone().unwrap_or_default();
            registry.find::<Secret>(namespace, &name).is_none().then(|| gone("secret", &name))
        })
    }

    /// Starts what may start now: init containers one after another, each sidecar once the one before has started, then
    /// all main containers in order. A postStart hook holds up those behind it.
    fn start_due(&mut self) {
        let initialized = self.initialized;
        for index in 0..self.slots.len() {
            if self.slots.iter().any(|slot| slot.hook_runs) {
                return;
            }
            let slot = &self.slots[index];
            let idle = slot.process.is_none();
            match (slot.role, &slot.facts.state) {
                (Role::Init, _) if initialized => {}
                (Role::Init, State::Ended(ended)) if ended.code == 0 => {}
                (Role::Init, _) => {
                    if idle {
                        self.start(index);
                    }
                    return;
                }
                (Role::Sidecar, _) => {
                    if idle {
                        self.start(index);
                    }
                    if !initialized && !self.slots[index].facts.started() {
                        return;
                    }
                }
                (Role::Main, State::Ended(ended)) if !self.restarts(slot, ended) => {}
                (Role::Main, _) => {
                    if idle {
                        self.start(index);
                    }
                }
            }
        }
    }

    /// Starts a container, unless it has to wait.
    fn start(&mut self, index: usize) {
        let now = Instant::now();
        let slot = &self.slots[index];
        if slot.retry.is_some_and(|retry| retry > now) || self.is_backed_off(index, now) {
            return;
        }
        let container = self.slots[index].container.clone();
        let program = match self.program(&container) {
            Ok(program) => program,
            Err(NoProgram::NoImage(_)) if container.image_pull_policy.as_deref() == Some("Never") => {
                self.image_is_missing_for_good(index, &container, now);
                return;
            }
            Err(error @ NoProgram::NoImage(_)) => {
                self.image_is_missing(index, &container, &error, now);
                return;
            }
            Err(error @ NoProgram::NotAllowed(_)) => {
                self.not_created(index, "CreateContainerError", &error.to_string(), now);
                return;
            }
            Err(error @ NoProgram::NotFound(_)) => {
                self.not_started(index, &error.to_string(), now);
                return;
            }
        };
        let image = container.image.as_deref().unwrap_or_default();
        let field = self.slots[index].field.clone();
        let present = format!("Container image {image:?} already present on machine");
        self.recorder.container(&field, Severity::Normal, "Pulled", &present);
        let spec = match self.process_spec(index, &container, program) {
            Ok(spec) => spec,
            Err(why) => {
                self.not_created(index, "CreateContainerConfigError", &why, now);
                return;
            }
        };
        let created = format!("Created container: {}", container.name);
        self.recorder.container(&field, Severity::Normal, "Created", &created);
        let log = Arc::new(Log::default());
        match Process::start(&self.shared.options.programs.launcher, &spec, Arc::clone(&log), &self.shared.live) {
            Ok(process) => self.has_started(index, process, spec, log),
            Err(error) => self.not_started(index, &format!("cannot start a process: {error}"), now),
        }
    }

    /// Whether a container that has failed before has to wait; then that is told.
    fn is_backed_off(&mut self, index: usize, now: Instant) -> bool {
        let name = self.slots[index].container.name.clone();
        let pod = format!("{}_{}({})", self.handle.name, self.handle.namespace, self.handle.uid);
        let slot = &mut self.slots[index];
        let Some(failed) = slot.counted_end else {
            // It was killed by the kubelet before it ever failed by itself.
            slot.counted_end = slot.ended_at;
            return false;
        };
        let held = slot.back_off.holds(failed, now);
        slot.counted_end = slot.ended_at;
        let Some((delay, until)) = held else {
            slot.back_off.raise(failed, now);
            return false;
        };
        if let State::Ended(ended) = &slot.facts.state {
            slot.facts.last = Some(ended.clone());
        }
        let message = format!("back-off {} restarting failed container={name} pod={pod}", go_duration(delay));
        slot.facts.state = State::Waiting { reason: "CrashLoopBackOff".to_owned(), message: Some(message) };
        slot.retry = Some(slot.ended_at.map_or(until, |ended| ended + delay));
        let field = slot.field.clone();
        let message = format!("Back-off restarting failed container {name} in pod {pod}");
        self.recorder.container(&field, Severity::Warning, "BackOff", &message);
        self.tell_waiting(index);
        true
    }

    fn program(&self, container: &Container) -> Result<Program, NoProgram> {
        let options = &self.shared.options;
        let rules =
            Rules { stand_ins: &options.stand_ins, host_programs: options.host_programs, find: &program::find_on_host };
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let image = container.image.as_deref().unwrap_or_default();
        rules.container(image, &list(&container.command), &list(&container.args))
    }

    /// Environment, folder and expanded arguments of a container.
    fn process_spec(&mut self, index: usize, container: &Container, program: Program) -> Result<ProcessSpec, String> {
        let place = Place { pod_ip: self.own.pod_ip.clone().unwrap_or_default(), host_ip: self.own.host_ip.clone() };
        let given = env::variables(&self.shared.registry, &self.seen.pod, container, &place)?;
        let value = |name: &str| given.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let expanded = |args: Vec<String>| args.iter().map(|arg| expand(arg, &value)).collect();
        let program = match program {
            Program::Own(args) => Program::Own(expanded(args)),
            Program::Host(path, args) => Program::Host(path, expanded(args)),
            Program::StandIn => Program::StandIn,
        };
        let host = program.may_fork();
        // Where programs of this machine may run, what is run in a stand-in later finds them too.
        let finds = host || self.shared.options.host_programs;
        let path = if finds { std::env::var("PATH").unwrap_or_default() } else { "/".to_owned() };
        let hostname = if self.seen.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
            self.handle.node.clone()
        } else {
            self.handle.name.clone()
        };
        // The image's own variables and the runtime's, which the pod's may replace.
        let mut env = vec![("PATH".to_owned(), path), ("HOSTNAME".to_owned(), hostname)];
        let tag = program::normalized(container.image.as_deref().unwrap_or_default());
        if matches!(program, Program::Own(_))
            && let Some(version) = tag.rsplit(':').next().filter(|tag| *tag != "latest" && !tag.contains('/'))
        {
            env.push(("EVENKEEL_DEMO_VERSION".to_owned(), version.to_owned()));
        }
        if !host {
            env.push(("EVENKEEL_DEMO_ADDRESS".to_owned(), place.pod_ip.clone()));
            // Without the pod's own host name the service could not tell its name.
            env.push(("POD_NAME".to_owned(), self.handle.name.clone()));
        }
        let stand_in_port = matches!(program, Program::StandIn).then(|| self.stand_in_port(index));
        if let Some(port) = stand_in_port {
            env.push(("EVENKEEL_DEMO_PORT".to_owned(), port.to_string()));
            env.push(("EVENKEEL_DEMO_STAND_IN".to_owned(), "true".to_owned()));
        }
        env.retain(|(name, _)| !given.iter().any(|(known, _)| known == name));
        env.extend(given);
        self.handle.change_seat(&container.name, |seat| seat.stand_in_port = stand_in_port);
        let cwd = if host { self.scratch(container)? } else { PathBuf::from("/") };
        Ok(ProcessSpec { program: program.line(&self.shared.options.programs), env, cwd, supervise: host })
    }

    /// The port of a stand-in: the first that the container declares or is probed at. Of several containers without any,
    /// one gets the demo service's own and the others none that matters, since they share an address.
    fn stand_in_port(&self, index: usize) -> u16 {
        let of = |slot: &Slot| {
            let declared = slot.container.ports.iter().flatten().map(|port| port.container_port).next();
            let probes =
                [&slot.container.readiness_probe, &slot.container.liveness_probe, &slot.container.startup_probe];
            let asked_at = probes.into_iter().flatten().find_map(|probe| {
                let http = probe.http_get.as_ref().map(|action| &action.port);
                let port = http.or_else(|| probe.tcp_socket.as_ref().map(|action| &action.port))?;
                super::http_get::resolve_port(port, &slot.container).ok()
            });
            declared.and_then(|port| u16::try_from(port).ok()).or(asked_at)
        };
        of(&self.slots[index]).unwrap_or_else(|| {
            let others = self.slots[..index]
                .iter()
                .any(|slot| slot.role != Role::Init && of(slot).is_none_or(|port| port == 8080));
            if others { 0 } else { 8080 }
        })
    }

    /// A folder of the pod's own for programs of the host, or the one that the container names, where it exists.
    fn scratch(&mut self, container: &Container) -> Result<PathBuf, String> {
        if let Some(wanted) = container.working_dir.as_deref().map(PathBuf::from).filter(|wanted| wanted.is_dir()) {
            return Ok(wanted);
        }
        let folder = self.shared.options.scratch.join(&self.handle.uid);
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot create the pod's folder {}: {error}", folder.display()))?;
        self.scratch_used = true;
        Ok(folder)
    }

    fn has_started(&mut self, index: usize, process: Process, spec: ProcessSpec, log: Arc<Log>) {
        let process = Arc::new(process);
        let slot = &mut self.slots[index];
        slot.run += 1;
        slot.since = time_now().0;
        slot.retry = None;
        slot.image_back_off = BackOff::default();
        slot.facts.id = Some(container_id());
        if let State::Ended(ended) = &slot.facts.state {
            slot.facts.last = Some(ended.clone());
        }
        if slot.run > 1 {
            slot.facts.restarts += 1;
        }
        slot.process = Some(Arc::clone(&process));
        slot.started_image.clone_from(&slot.container.image);
        self.initialized |= slot.role == Role::Main;
        self.handle.change_seat(&slot.container.name, |seat| {
            seat.process = Some(Arc::clone(&process));
            seat.previous_log = seat.log.replace(log);
            seat.env = spec.env;
            seat.cwd = spec.cwd;
        });
        let started = format!("Started container {}", slot.container.name);
        self.recorder.container(&slot.field, Severity::Normal, "Started", &started);
        let (sender, run) = (self.sender.clone(), slot.run);
        // Not among the tasks that end with the pod's termination, and it ends by itself with the process.
        tokio::spawn(async move {
            let exit = process.wait().await;
            // Without it the process would not be known as ended before its last holder goes.
            drop(process);
            _ = sender.send(Event::Ended { index, run, exit }).await;
        });
        let hook = slot.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
        let Some(hook) = hook else {
            self.container_runs(index);
            return;
        };
        slot.hook_runs = true;
        if let State::Ended(_) = slot.facts.state {
            slot.facts.state = State::waiting("PodInitializing");
        }
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.handle));
        let (container, sender) = (slot.container.clone(), self.sender.clone());
        self.hooks.spawn(async move {
            let result = hook::run(&shared, &pod, &container, &hook).await;
            _ = sender.send(Event::Hook { index, run, result }).await;
        });
    }

    /// Waits with a reason and tells it in an event.
    fn not_created(&mut self, index: usize, reason: &str, why: &str, now: Instant) {
        let slot = &mut self.slots[index];
        slot.facts.state = State::Waiting { reason: reason.to_owned(), message: Some(why.to_owned()) };
        slot.retry = Some(now + AGAIN);
        self.recorder.container(&slot.field, Severity::Warning, "Failed", &format!("Error: {why}"));
        self.tell_waiting(index);
    }

    /// A container that was created and whose program would not start.
    fn not_started(&mut self, index: usize, why: &str, now: Instant) {
        let slot = &mut self.slots[index];
        let finished = time_now().0;
        let id = container_id();
        slot.run += 1;
        slot.facts.restarts += i32::from(slot.run > 1);
        slot.facts.id = Some(id.clone());
        let ended = Ended {
            code: 128,
            reason: "StartError".to_owned(),
            message: Some(why.to_owned()),
            started: jiff::Timestamp::UNIX_EPOCH,
            finished,
            id,
        };
        slot.ended_at = Some(now);
        slot.counted_end = Some(now);
        slot.retry = Some(now + RELIST);
        self.recorder.container(&slot.field, Severity::Warning, "Failed", &format!("Error: {why}"));
        let slot = &self.slots[index];
        let restarts = self.restarts(slot, &ended);
        let slot = &mut self.slots[index];
        if restarts {
            slot.facts.last = Some(ended);
            slot.facts.state = State::Waiting { reason: "RunContainerError".to_owned(), message: Some(why.to_owned()) };
        } else {
            slot.facts.state = State::Ended(ended);
        }
        self.tell_waiting(index);
    }

    fn image_is_missing_for_good(&mut self, index: usize, container: &Container, now: Instant) {
        let image = container.image.as_deref().unwrap_or_default();
        let message = format!("Container image {image:?} is not present with pull policy of Never");
        let field = self.slots[index].field.clone();
        self.recorder.container(&field, Severity::Warning, "ErrImageNeverPull", &message);
        self.not_created(index, "ErrImageNeverPull", &message, now);
    }

    /// An image that isn't here: a failed pull, and then, until the next, the back-off from it.
    fn image_is_missing(&mut self, index: usize, container: &Container, why: &NoProgram, now: Instant) {
        let image = container.image.as_deref().unwrap_or_default();
        let slot = &mut self.slots[index];
        let field = slot.field.clone();
        let waits_since = slot
            .retry
            .filter(|_| matches!(&slot.facts.state, State::Waiting { reason, .. } if reason == "ErrImagePull"));
        let held = waits_since.and_then(|since| slot.image_back_off.holds(since - RELIST, now));
        let (reason, message) = if let Some((_, until)) = held {
            let message = format!("Back-off pulling image {image:?}");
            self.recorder.container(&field, Severity::Normal, "BackOff", &message);
            slot.retry = Some(until);
            ("ImagePullBackOff", format!("{message}: ErrImagePull: {why}"))
        } else {
            self.recorder.container(&field, Severity::Normal, "Pulling", &format!("Pulling image {image:?}"));
            let message = format!("Failed to pull image {image:?}: {why}");
            self.recorder.container(&field, Severity::Warning, "Failed", &message);
            slot.image_back_off.raise(now, now);
            slot.retry = Some(now + RELIST);
            ("ErrImagePull", why.to_string())
        };
        slot.facts.state = State::Waiting { reason: reason.to_owned(), message: Some(message) };
        self.recorder.container(&field, Severity::Warning, "Failed", &format!("Error: {reason}"));
        self.tell_waiting(index);
    }

    /// Lets `kubectl logs` say why there is nothing to read.
    fn tell_waiting(&self, index: usize) {
        let slot = &self.slots[index];
        if let State::Waiting { reason, .. } = &slot.facts.state {
            self.handle.change_seat(&slot.container.name, |seat| seat.waiting.clone_from(reason));
        }
    }
}
