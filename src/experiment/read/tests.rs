use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

fn fixtures(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/experiment").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn every_problem_of_a_bad_file_is_told_with_its_place() {
    let files = fixtures("bad");
    assert!(files.len() >= 5);
    for (name, text) in files {
        let problems = read(&name, &text).expect_err(&name);
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name.trim_end_matches(".yaml"), problems.to_string());
        });
    }
}

#[test]
fn a_good_file_is_read_whole() {
    for (name, text) in fixtures("good") {
        let experiment = read(&name, &text).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(is_experiment(&text));
        let printed = serde_json::to_value(&experiment).unwrap();
        assert_eq!(serde_json::from_value::<Experiment>(printed).unwrap(), experiment, "{name}");
    }
}

#[test]
fn files_of_other_kinds_are_told_apart() {
    let table = [
        ("apiVersion: evenkeel/v1\nkind: Experiment\n", true),
        ("apiVersion: evenkeel/v1\nkind: Experimnt\n", true),
        ("kind: Experiment\n", true),
        ("apiVersion: evenkeel/v1 # ours\nkind: Experiment\nspec: [\n", true),
        ("kind: \"Experiment\"\nspec: [\n", true),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Experiment\n", false),
        ("apiVersion: apps/v1\nkind: Deployment\n", false),
        ("apiVersion: apps/v1\nkind: Deployment\nspec: [\n", false),
        ("", false),
        ("[", false),
        ("- kind: Experiment\n", false),
    ];
    for (text, is_one) in table {
        assert_eq!(is_experiment(text), is_one, "{text}");
    }
}

#[test]
fn agents_are_one_to_thirty_two_and_need_a_lane_from_inside() {
    let (_, good) = fixtures("good").remove(0);
    let with = |agents: &str, from: &str| {
        let text = good.replacen("  steps:\n", &format!("  agents: {agents}\n  steps:\n"), 1);
        read("file.yaml", &text.replace("from: inside", from)).map(|experiment| experiment.spec.agents.get())
    };
    assert!(good.contains("from: inside") && good.contains("  steps:\n"));
    assert_eq!((with("1", "from: inside").unwrap(), with("32", "from: inside").unwrap()), (1, 32));
    for (agents, from, message) in [
        ("0", "from: inside", "write"),
        ("33", "from: inside", "write"),
        ("2", "from: outside", "agents send the lanes with `from: inside`, and there is none"),
    ] {
        let problems = with(agents, from).expect_err(agents);
        assert_eq!(problems.all().len(), 1, "{problems}");
        assert!(problems.to_string().contains(message), "{problems}");
    }
}

#[test]
fn one_slip_gives_one_problem() {
    let (_, good) = fixtures("good").remove(0);
    let table = [
        ("rate: 100/s, connections: new", "rate: 100, connections: new", "write a rate"),
        ("VERSION: \"2\"", "VERSION: 2", "write it in quotes: \"2\""),
        ("ignoreDaemonsets", "ignoreDaemonSets", "did you mean `ignoreDaemonsets`?"),
        ("- drain:", "- drian:", "did you mean `drain`?"),
        ("lane: new", "lane: knew", "there is no lane knew"),
        ("step: drain", "step: drian", "there is no step"),
        ("budget: {name: shop}", "budget: {name: shops}", "write one of shop"),
        ("withPods: {app: shop}", "withPods: {app: shops}", "no applied pod has the labels app=shops"),
        ("type: NodePort", "type: ClusterIP", "give the Service `type: NodePort`"),
        (", nodePort: 30080", "", "has no `nodePort`"),
        ("port: 80, path", "port: 81, path", "write one of 80"),
        ("ready: [deployment/shop]", "ready: [deployment/shops]", "write one of deployment/shop"),
        ("replicas: 3", "replicas: 03", "octal to some"),
    ];
    for (from, to, message) in table {
        assert!(good.contains(from), "{from}");
        let problems = read("file.yaml", &good.replacen(from, to, 1)).expect_err(to);
        assert_eq!(problems.all().len(), 1, "{problems}");
        assert!(problems.to_string().contains(message), "{problems}");
    }
}

/// A piece of a file, put somewhere else in it: finds more than random text, most of which is refused at once.
fn mutated() -> impl Strategy<Value = String> {
    let text = fixtures("good").remove(0).1;
    let pieces = proptest::sample::select(vec![
        "\n", " ", ":", "- ", "{", "}", "[", "]", "&a ", "*a", "null", "\"", "!!int ", "<<: ", "-1", "é", "\t", "|",
        "0", "~: ",
    ]);
    let cut = (0..text.len(), 0..60_usize, pieces, any::<bool>());
    proptest::collection::vec(cut, 1..5).prop_map(move |cuts| {
        let mut text = text.clone();
        for (at, length, piece, keep) in cuts {
            let floor = |mut index: usize| {
                index = index.min(text.len());
                while !text.is_char_boundary(index) {
                    index -= 1;
                }
                index
            };
            let (from, to) = (floor(at), floor(at + if keep { 0 } else { length }));
            text.replace_range(from..to, piece);
        }
        text
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ -~\n]{0,400}|\\PC{0,80}") {
        drop(read("file.yaml", &text));
        prop_assert!(!is_experiment(&text) || text.contains("kind") || text.contains("evenkeel"));
    }

    #[test]
    fn a_mutated_file_is_read_or_refused_within_its_lines(text in mutated()) {
        if let Err(problems) = read("file.yaml", &text) {
            let lines = text.split('\n').count();
            prop_assert!(!problems.all().is_empty());
            for problem in problems.all() {
                prop_assert!(problem.place.line >= 1 && problem.place.line <= lines, "{problem:?} of {lines}");
                prop_assert!(problem.place.column >= 1 && !problem.what.contains('\n'), "{problem:?}");
            }
        }
    }

    #[test]
    fn what_the_schema_takes_the_types_take(text in mutated()) {
        if let Err(problems) = read("file.yaml", &text) {
            let told = problems.to_string();
            prop_assert!(!told.contains("write it as `evenkeel schema` says"), "{told}\n{text}");
        }
    }
}
