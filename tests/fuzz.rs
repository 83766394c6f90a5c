//! Fuzzing of what comes from outside: the experiment file, the record reader with all that is made of a record, and the
//! API of the sandbox. Files of `tests/corpus` are changed at random, and whatever comes of it must be an answer in time:
//! no panic, no hang.
//!
//! The same inputs each time in a plain `cargo test`, a few seconds of them; `scripts/fuzz.sh` takes ten minutes each.
//! `EVENKEEL_FUZZ_SECONDS` and `EVENKEEL_FUZZ_SEED` say how long and from where, `EVENKEEL_TEST_ONLY` which. An input that
//! fails is kept beside the corpus as `found-…`, and is tried first from then on.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use evenkeel::{
    experiment, judge,
    record::{EVENTS_FILE, LOAD_FILE, PLAN_FILE, reader},
    report,
    sandbox::{Options, Sandbox},
};
use kube::client::Body;
use tokio::time::Instant;

/// One input may take so long; all that is not a hang is far below, also on a busy machine.
const ONE_WITHIN: Duration = Duration::from_secs(20);

/// Inputs of each in a plain `cargo test`.
const INPUTS: u64 = 1_000;

/// The largest input that changes grow to, in bytes.
const INPUT_MAX: usize = 64 << 10;

/// Pieces that mean something to one of the readers.
const WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "9223372036854775807",
    "1e308",
    "\"\"",
    "[]",
    "{}",
    "{",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "!!binary ",
    "|\n",
    "---\n",
    "\u{0}",
    "\u{202e}",
    "\\u0000",
    "\\ud800",
    "..",
    "../",
    "%2e%2e%2f",
    "?watch=true",
    "&limit=1",
    "&continue=x",
    "&labelSelector=a%20in%20(b)",
    "100%",
    "1ns",
    "99999999h",
    "1/s",
    "deployment/",
    "\n",
];

/// Panics of any thread since the last look.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Numbers that a seed gives again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap()
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() % end.max(1)
    }
}

type Corpus = BTreeMap<PathBuf, Vec<u8>>;

fn corpus(target: &str) -> (PathBuf, Corpus) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let read = files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    (folder, read)
}

/// One of the corpus, changed in a few places.
fn changed(corpus: &Corpus, random: &mut Random) -> Vec<u8> {
    let all: Vec<&Vec<u8>> = corpus.values().collect();
    let mut input = all[random.below(all.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 => drop(input.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
            2 => {
                let end = (at + random.below(40)).min(input.len());
                drop(input.drain(at..end));
            }
            3 => input.truncate(at),
            4 => {
                let end = (at + random.below(200)).min(input.len());
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                drop(input.splice(to..to, piece));
            }
            5 => {
                let other = all[random.below(all.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(300)).min(other.len())].to_vec();
                drop(input.splice(at..at, piece));
            }
            _ => {
                // A digit for another: numbers at their bounds.
                if let Some(digit) = input.iter_mut().skip(at).find(|byte| byte.is_ascii_digit()) {
                    *digit = b"0123456789"[random.below(10)];
                }
            }
        }
    }
    input.truncate(INPUT_MAX);
    input
}

/// From which seed, and how long: a time, or so many inputs.
#[derive(Debug, Clone, Copy)]
struct Order {
    seed: u64,
    time: Option<Duration>,
}

/// Tries the corpus, and changes of it. How many, or the input that failed.
fn fuzz(corpus: &Corpus, order: Order, mut one: impl FnMut(&[u8])) -> Result<u64, (Vec<u8>, String)> {
    let mut random = Random(order.seed);
    let end = order.time.map(|time| Instant::now() + time);
    let mut count = 0;
    // What has failed before comes first.
    let mut first: Vec<(&PathBuf, &Vec<u8>)> = corpus.iter().collect();
    first.sort_by_key(|(path, _)| !path.to_string_lossy().contains("found-"));
    let mut first = first.into_iter().map(|(_, input)| input.clone());
    loop {
        let input = match first.next() {
            Some(input) => input,
            None if end.map_or(count >= INPUTS, |end| Instant::now() >= end) => return Ok(count),
            None => changed(corpus, &mut random),
        };
        let begun = Instant::now();
        let panicked = catch_unwind(AssertUnwindSafe(|| one(&input))).is_err();
        // Also those of tasks and threads that nobody waits for.
        if PANICS.swap(0, Ordering::Relaxed) > 0 || panicked {
            return Err((input, "a panic".to_owned()));
        }
        if begun.elapsed() > ONE_WITHIN {
            return Err((input, format!("it took {:?}", begun.elapsed())));
        }
        count += 1;
    }
}

fn read_experiment(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(experiment) = experiment::read("fuzz.yaml", &text) {
        // What is accepted can be written down and read again.
        let json = serde_json::to_string(&experiment).unwrap();
        let again: experiment::schema::Experiment = serde_json::from_str(&json).unwrap();
        assert_eq!(again, experiment);
        drop(evenkeel::plan::make(&experiment, &evenkeel::plan::ClusterFacts::default()));
        drop(evenkeel::plan::rbac::roles(&[experiment], "fuzz"));
    }
}

/// The three files of a record in one input, parted by a line.
const PART: &str = "\n=====\n";

fn read_record(folder: &Path, input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.splitn(3, PART);
    for name in [PLAN_FILE, EVENTS_FILE, LOAD_FILE] {
        std::fs::write(folder.join(name), parts.next().unwrap_or_default()).unwrap();
    }
    if let Ok(record) = reader::read(folder) {
        let verdict = judge::judge(&record);
        drop(report::html::render(&record, &verdict));
        let style = report::terminal::Style { colour: true, width: 80 };
        drop(report::terminal::summary(&verdict, "report.html", style));
    }
}

/// A request: its method and path in the first line, its content type in the second, then its body.
fn request(input: &[u8]) -> Option<http::Request<Body>> {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let (method, path) = lines.next()?.split_once(' ')?;
    let content_type = lines.next().unwrap_or_default();
    let body = lines.next().unwrap_or_default();
    let builder = http::Request::builder().method(method.trim()).uri(path.trim()).header("content-type", content_type);
    builder.body(Body::from(body.as_bytes().to_vec())).ok()
}

fn ask_api(runtime: &tokio::runtime::Runtime, client: &kube::Client, input: &[u8]) {
    let Some(request) = request(input) else { return };
    let client = client.clone();
    runtime.block_on(async move {
        let answer = async {
            let answer = client.send(request).await.ok()?;
            // A watch goes on; some of it is enough.
            let body = async { answer.into_body().collect_bytes().await.ok().map(drop) };
            tokio::time::timeout(Duration::from_millis(5), body).await.ok().flatten()
        };
        drop(tokio::time::timeout(ONE_WITHIN * 2, answer).await);
    });
}

/// How many inputs were tried on a target, or the one that failed.
fn target(name: &str, corpus: &Corpus, order: Order) -> Result<u64, (Vec<u8>, String)> {
    match name {
        "experiment" => fuzz(corpus, order, read_experiment),
        "record" => {
            let folder = tempfile::tempdir().unwrap();
            fuzz(corpus, order, |input| read_record(folder.path(), input))
        }
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let executable = PathBuf::from(env!("CARGO_BIN_EXE_evenkeel"));
            let options = Options { status_only: true, ..Options::new(executable) };
            let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
            let client = sandbox.client();
            let result = fuzz(corpus, order, |input| ask_api(&runtime, &client, input));
            runtime.block_on(sandbox.stop());
            result
        }
    }
}

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("EVENKEEL_FUZZ_SEED").unwrap_or(1);
    let order = Order { seed, time: number("EVENKEEL_FUZZ_SECONDS").map(Duration::from_secs) };
    let only = std::env::var("EVENKEEL_TEST_ONLY").unwrap_or_default();
    let told = Arc::new(std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        told(panic);
    }));
    let mut failed = 0;
    for name in ["experiment", "record", "api"].into_iter().filter(|name| name.contains(&only)) {
        let (folder, corpus) = corpus(name);
        match target(name, &corpus, order) {
            Ok(count) => println!("{name}: {count} inputs, no panic, no hang"),
            Err((input, why)) => {
                failed += 1;
                let path = folder.join(format!("found-{seed}-{}", input.len()));
                std::fs::write(&path, &input).unwrap();
                println!("{name}: FAILED: {why}; the input is kept in {}", path.display());
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
