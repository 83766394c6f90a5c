//! The invariants of ARCHITECTURE.md, held against the sources: what a stage must not know, and what only one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code of a file, without its unit tests and comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &str) -> bool {
    path.contains("tests") || path.contains("sample")
}

fn offenders(folders: &[&str], words: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources() {
        let stage = path.split(['/', '.']).next().unwrap_or_default();
        if !folders.contains(&stage) || is_test(&path) || except.iter().any(|prefix| path.starts_with(prefix)) {
            continue;
        }
        let code = code(&text);
        found.extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} has {word}")));
    }
    found
}

#[test]
fn the_pure_stages_have_no_async_no_clock_and_no_network() {
    let words = [
        "async fn",
        "tokio::",
        "kube::",
        "hyper",
        "Instant::now",
        "Timestamp::now",
        "SystemTime",
        "std::net",
        "std::fs",
    ];
    let pure = ["experiment", "model", "plan", "judge", "report"];
    assert_eq!(offenders(&pure, &words, &["report/live"]), Vec::<String>::new());
}

#[test]
fn dependencies_point_one_way() {
    let stages = [
        "experiment",
        "model",
        "plan",
        "load",
        "record",
        "cluster",
        "fault",
        "agent",
        "observe",
        "judge",
        "report",
        "run",
        "sandbox",
    ];
    let may_know: &[(&str, &[&str])] = &[
        ("experiment", &["model"]),
        ("model", &[]),
        ("plan", &["experiment", "model"]),
        ("load", &["experiment", "record"]),
        ("record", &["experiment", "load"]),
        ("cluster", &["experiment", "model", "plan", "record", "sandbox"]),
        ("sandbox", &["model"]),
        ("fault", &["experiment", "model", "plan", "cluster", "record"]),
        ("agent", &["experiment", "load", "cluster", "record"]),
        ("observe", &["experiment", "model", "cluster", "record"]),
        ("judge", &["experiment", "model", "record"]),
        ("report", &["experiment", "model", "record", "judge", "load"]),
    ];
    let mut found = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let stage = path.split(['/', '.']).next().unwrap_or_default();
        let Some((_, allowed)) = may_know.iter().find(|(known, _)| *known == stage) else { continue };
        let named = named_of_the_crate(&code(text));
        let beyond = named.iter().filter(|name| stages.contains(&name.as_str()) && *name != stage);
        found
            .extend(beyond.filter(|name| !allowed.contains(&name.as_str())).map(|name| format!("{path} knows {name}")));
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The modules at the top of the crate that a file names, in paths and in grouped imports.
fn named_of_the_crate(code: &str) -> BTreeSet<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if !rest.starts_with('{') {
            found.insert(name(rest));
            continue;
        }
        let mut depth = 0;
        for (place, c) in rest.char_indices() {
            let begins = matches!(c, '{' | ',') && depth <= 1;
            depth += i32::from(c == '{') - i32::from(c == '}');
            if begins && depth == 1 {
                found.insert(name(rest[place + 1..].trim_start()));
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

#[test]
fn a_module_is_found_in_a_path_and_in_a_group_but_not_deeper() {
    let named = named_of_the_crate("use crate::{\n    run::x,\n    judge::{plan::y, z},\n};\ncrate::fault::go()");
    let named: Vec<&str> = named.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    assert_eq!(named, ["fault", "judge", "run"]);
}

#[test]
fn nothing_but_the_cluster_names_kind() {
    assert_eq!(
        offenders(&["fault", "load", "observe", "judge", "plan"], &["kind::", "Kind::Kind", "On::Kind"], &[]),
        Vec::<String>::new()
    );
}

#[test]
fn only_the_command_and_the_live_view_print() {
    let all = [
        "experiment",
        "model",
        "plan",
        "load",
        "record",
        "cluster",
        "fault",
        "agent",
        "observe",
        "judge",
        "report",
        "demo",
        "image",
        "sandbox",
    ];
    assert_eq!(offenders(&all, &["println!", "print!("], &["report/live"]), Vec::<String>::new());
}

#[test]
fn no_file_is_longer_than_eight_hundred_lines() {
    let long: Vec<String> =
        sources().into_iter().filter(|(_, text)| text.lines().count() > 800).map(|(path, _)| path).collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn a_use_in_a_comment_or_a_unit_test_does_not_count_and_one_in_code_does() {
    let text = "use crate::run::x; // tokio::\n#[cfg(test)]\nmod tests {\n    use tokio::time;\n}\n";
    assert!(code(text).contains("crate::run::") && !code(text).contains("tokio::"));
}

#[test]
fn only_the_cluster_and_the_command_start_a_sandbox() {
    let words = ["sandbox::"];
    let all = [
        "experiment",
        "model",
        "plan",
        "load",
        "record",
        "cluster",
        "fault",
        "agent",
        "observe",
        "judge",
        "report",
        "run",
    ];
    assert_eq!(offenders(&all, &words, &["cluster/embedded", "cluster/error"]), Vec::<String>::new());
}
