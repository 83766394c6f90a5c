//! Which program a container, an exec hook or an exec probe runs: evenkeel's own executable for the built-in image and
//! for stand-ins, a program of this machine only where that was allowed, and otherwise none, with the reason.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::options::Programs;

/// The built-in image, without a tag.
const BUILT_IN: &str = "evenkeel/demo";

/// What evenkeel's executable may be asked for without leave to run programs of the machine.
const SUBCOMMANDS: [&str; 2] = ["demo", "demo-sleep"];

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Evenkeel's executable, with these arguments.
    Own(Vec<String>),
    /// The demo service in the place of an image that isn't here.
    StandIn,
    /// A program of this machine.
    Host(PathBuf, Vec<String>),
}

/// Why a container cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProgram {
    /// The image is not here: `ErrImagePull`.
    #[error(
        "rpc error: code = NotFound desc = failed to pull and unpack image \"{0}\": the evenkeel sandbox has no images \
         but evenkeel/demo; name it as a stand-in (--stand-in) to run the demo service in its place"
    )]
    NoImage(String),
    /// A program of the machine, without leave: `CreateContainerError`.
    #[error(
        "the evenkeel sandbox does not run {0:?} of this machine; allow it with --host-programs, or use evenkeel's own \
         executable (/evenkeel demo …)"
    )]
    NotAllowed(String),
    /// A program of the machine that isn't there: `RunContainerError`, as runc says it.
    #[error(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
         unable to start container process: error during container init: exec: \"{0}\": executable file not found in \
         $PATH"
    )]
    NotFound(String),
}

/// What may run.
pub struct Rules<'a> {
    /// Images that run as the demo service, as patterns.
    pub stand_ins: &'a [String],
    /// Programs of the machine may run.
    pub host_programs: bool,
    /// Where a program of the machine is.
    pub find: &'a dyn Fn(&str) -> Option<PathBuf>,
}

impl Rules<'_> {
    /// The program of a container, from its image, command and arguments.
    ///
    /// # Errors
    /// When there is none.
    pub fn container(&self, image: &str, command: &[String], args: &[String]) -> Result<Program, NoProgram> {
        if is_built_in(image) {
            return match command {
                [] => self.own(args.to_vec()),
                command => self.command(&[command, args].concat()),
            };
        }
        if !self.is_stand_in(image) {
            return Err(NoProgram::NoImage(normalized(image)));
        }
        let line = [command, args].concat();
        let Some((program, rest)) = line.split_first() else { return Ok(self.default_of(image)) };
        if is_own(program) {
            return self.own(rest.to_vec());
        }
        // Without a command the arguments are the program only in images that have no entry point, as busybox.
        match (self.find)(program).filter(|_| self.host_programs) {
            Some(path) => Ok(Program::Host(path, rest.to_vec())),
            None => Ok(Program::StandIn),
        }
    }

    /// The program of an exec hook, an exec probe or `kubectl exec`.
    ///
    /// # Errors
    /// When there is none.
    pub fn command(&self, line: &[String]) -> Result<Program, NoProgram> {
        let Some((program, rest)) = line.split_first() else { return Err(NoProgram::NotFound(String::new())) };
        if is_own(program) {
            return self.own(rest.to_vec());
        }
        if !self.host_programs {
            return match parse_sleep(line) {
                Some(span) => Ok(Program::Own(vec!["demo-sleep".to_owned(), format!("{}ms", span.as_millis())])),
                None => Err(NoProgram::NotAllowed(program.clone())),
            };
        }
        let path = (self.find)(program).ok_or_else(|| NoProgram::NotFound(program.clone()))?;
        Ok(Program::Host(path, rest.to_vec()))
    }

    /// What an image runs by itself. Of those that stand in here only busybox does not serve: it runs a shell, which ends
    /// with its input.
    fn default_of(&self, image: &str) -> Program {
        let name = normalized(image);
        let name = name.rsplit('/').next().and_then(|last| last.split([':', '@']).next()).unwrap_or_default();
        match (self.find)("sh").filter(|_| self.host_programs && name == "busybox") {
            Some(shell) => Program::Host(shell, Vec::new()),
            None => Program::StandIn,
        }
    }

    fn own(&self, args: Vec<String>) -> Result<Program, NoProgram> {
        match args.first() {
            // The executable does other things than serve, with the machine's own clusters for one.
            Some(first) if !self.host_programs && !SUBCOMMANDS.contains(&first.as_str()) => {
                Err(NoProgram::NotAllowed(format!("evenkeel {first}")))
            }
            _ => Ok(Program::Own(args)),
        }
    }

    fn is_stand_in(&self, image: &str) -> bool {
        let full = normalized(image);
        self.stand_ins.iter().any(|pattern| matches(pattern, image) || matches(pattern, &full))
    }
}

impl Program {
    /// Its command line.
    #[must_use]
    pub fn line(&self, programs: &Programs) -> Vec<OsString> {
        let own = |args: &[String]| {
            let args = args.iter().map(OsString::from);
            programs.demo.iter().cloned().chain(args).collect()
        };
        match self {
            Self::Own(args) => own(args),
            Self::StandIn => own(&["demo".to_owned()]),
            Self::Host(path, args) => std::iter::once(path.into()).chain(args.iter().map(OsString::from)).collect(),
        }
    }

    /// Whether it may leave processes of its own behind.
    #[must_use]
    pub const fn may_fork(&self) -> bool {
        matches!(self, Self::Host(..))
    }
}

/// Finds a program of this machine, by its path or along `PATH`.
#[must_use]
pub fn find_on_host(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let runs =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(runs);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(runs)
}

/// The time that a command line sleeps, where it is `sleep` in one of its usual spellings: `sleep 5`, `/bin/sleep 1m`,
/// `sh -c "sleep 5"`.
#[must_use]
pub fn parse_sleep(line: &[String]) -> Option<Duration> {
    let words: Vec<&str> = match line {
        [shell, flag, script] if is_named(shell, &["sh", "bash", "ash", "dash"]) && flag == "-c" => {
            let script = script.trim().trim_end_matches(';');
            script.strip_prefix("exec ").unwrap_or(script).split_whitespace().collect()
        }
        words => words.iter().map(String::as_str).collect(),
    };
    let (_, spans) =
        words.split_first().filter(|(program, spans)| is_named(program, &["sleep"]) && !spans.is_empty())?;
    // As with coreutils, several are added up.
    spans.iter().map(|text| parse_span(text)).sum()
}

fn parse_span(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3_600.0,
        'd' => 86_400.0,
        '0'..='9' | '.' => return Duration::try_from_secs_f64(text.parse().ok()?).ok(),
        _ => return None,
    };
    Duration::try_from_secs_f64(text[..text.len() - 1].parse::<f64>().ok()? * unit).ok()
}

fn is_named(program: &str, names: &[&str]) -> bool {
    let folderless = ["/bin/", "/usr/bin/"].iter().find_map(|folder| program.strip_prefix(folder)).unwrap_or(program);
    names.contains(&folderless)
}

fn is_own(program: &str) -> bool {
    matches!(program, "/evenkeel" | "evenkeel")
}

/// An image's name as container runtimes complete it.
#[must_use]
pub fn normalized(image: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let has_registry = first.contains(['.', ':']) || first == "localhost";
    let name = match (has_registry, first) {
        (true, _) => image.to_owned(),
        (false, "") => format!("docker.io/library/{rest}"),
        (false, _) => format!("docker.io/{image}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { name } else { format!("{name}:latest") }
}

fn is_built_in(image: &str) -> bool {
    let full = normalized(image);
    let name = full.strip_prefix("docker.io/").or_else(|| full.strip_prefix("localhost/")).unwrap_or_default();
    name.strip_prefix(BUILT_IN).is_some_and(|rest| rest.starts_with([':', '@']))
}

/// Whether a text matches a pattern in which `*` stands for anything.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn find(program: &str) -> Option<PathBuf> {
        matches!(program, "sh" | "/bin/sh" | "true")
            .then(|| PathBuf::from("/bin").join(program.trim_start_matches("/bin/")))
    }

    fn run(image: &str, command: &str, args: &str, host_programs: bool) -> Result<Program, NoProgram> {
        let rules =
            Rules { stand_ins: &["registry.k8s.io/*".to_owned(), "busybox*".to_owned()], host_programs, find: &find };
        rules.container(image, &words(command), &words(args))
    }

    #[test]
    fn the_built_in_image_is_evenkeel() {
        for image in ["evenkeel/demo:v1", "docker.io/evenkeel/demo:v2", "evenkeel/demo"] {
            assert_eq!(run(image, "", "demo --boot 7s", false), Ok(Program::Own(words("demo --boot 7s"))), "{image}");
        }
        assert_eq!(
            run("evenkeel/demo:v1", "/evenkeel demo", "--port 1", false),
            Ok(Program::Own(words("demo --port 1")))
        );
        assert_eq!(run("evenkeel/demo:v1", "", "run x", false), Err(NoProgram::NotAllowed("evenkeel run".to_owned())));
        assert_eq!(run("evenkeel/demo:v1", "sh", "-c x", false), Err(NoProgram::NotAllowed("sh".to_owned())));
        assert!(matches!(run("evenkeel/demo2:v1", "", "demo", false), Err(NoProgram::NoImage(_))));
    }

    #[test]
    fn a_stand_in_is_the_demo_service_unless_programs_of_the_machine_may_run() {
        let host = |args: &str| Ok(Program::Host("/bin/sh".into(), words(args)));
        for (image, command, args, allowed, wanted) in [
            ("registry.k8s.io/pause:3.10", "", "", true, Ok(Program::StandIn)),
            ("busybox", "sh", "-c x", false, Ok(Program::StandIn)),
            ("busybox", "/bin/sh", "-c x", true, host("-c x")),
            ("busybox", "", "sh -c x", true, host("-c x")),
            ("registry.k8s.io/e2e-test-images/agnhost:2.53", "", "netexec", true, Ok(Program::StandIn)),
            ("nginx", "", "", true, Err(NoProgram::NoImage("docker.io/library/nginx:latest".to_owned()))),
        ] {
            assert_eq!(run(image, command, args, allowed), wanted, "{image} {command} {args}");
        }
    }

    #[test]
    fn sleep_is_understood_in_its_usual_spellings() {
        let line = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        for (text, seconds) in [
            ("sleep|5", Some(5.0)),
            ("/bin/sleep|1.5", Some(1.5)),
            ("/usr/bin/sleep|2m", Some(120.0)),
            ("sleep|1m|5s", Some(65.0)),
            ("sh|-c|sleep 5", Some(5.0)),
            ("/bin/sh|-c| sleep 10s ; ", Some(10.0)),
            ("bash|-c|exec sleep 1", Some(1.0)),
            ("sh|-c|sleep 5 && echo x", None),
            ("sh|-c|touch x", None),
            ("sleep", None),
            ("sleep|-1", None),
            ("sleep|x", None),
            ("/opt/sleep|1", None),
            ("", None),
        ] {
            assert_eq!(parse_sleep(&line(text)), seconds.map(Duration::from_secs_f64), "{text}");
        }
    }

    #[test]
    fn images_are_completed_as_container_runtimes_do() {
        for (image, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("evenkeel/demo:v1", "docker.io/evenkeel/demo:v1"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("quay.io/a/b@sha256:12", "quay.io/a/b@sha256:12"),
        ] {
            assert_eq!(normalized(image), full);
        }
    }

    #[test]
    fn patterns_match_with_stars() {
        for (pattern, text, wanted) in [
            ("*", "anything", true),
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("a*b*c", "a-b-b-c", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("ab*ab", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
