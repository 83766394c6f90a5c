use super::*;
use crate::experiment::problem::Problem;

fn tree(text: &str) -> Node {
    let (tree, problems) = parse(text);
    assert_eq!(problems, [], "{text}");
    tree.unwrap()
}

fn one_problem(text: &str) -> Problem {
    let (_, mut problems) = parse(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    problems.remove(0)
}

#[test]
fn scalars_mean_what_the_core_schema_of_yaml_1_2_says() {
    let table = [
        ("1", serde_json::json!(1)),
        ("-7", serde_json::json!(-7)),
        ("+7", serde_json::json!(7)),
        ("0x1F", serde_json::json!(31)),
        ("0o17", serde_json::json!(15)),
        ("1.5", serde_json::json!(1.5)),
        ("1e3", serde_json::json!(1000.0)),
        (".5", serde_json::json!(0.5)),
        ("18446744073709551615", serde_json::json!(u64::MAX)),
        ("true", serde_json::json!(true)),
        ("yes", serde_json::json!("yes")),
        ("on", serde_json::json!("on")),
        ("~", serde_json::json!(null)),
        ("", serde_json::json!(null)),
        ("\"1\"", serde_json::json!("1")),
        ("'true'", serde_json::json!("true")),
        ("!!str 1", serde_json::json!("1")),
        ("1.2.3", serde_json::json!("1.2.3")),
        ("500ms", serde_json::json!("500ms")),
        ("-", serde_json::json!([null])),
        ("e5", serde_json::json!("e5")),
        (".", serde_json::json!(".")),
    ];
    for (text, meaning) in table {
        let tree = tree(&format!("key: \n  {text}\n"));
        assert_eq!(tree.get("key").unwrap().to_json(&[]), meaning, "{text}");
    }
}

#[test]
fn a_value_knows_its_line_and_column_in_characters() {
    let tree = tree("é: 'ü'\nspec:\n  steps:\n    - drain: {nodes: x}\n");
    let path = Path::root().key("spec").key("steps").index(0);
    let place = |line, column| Place { line, column };
    assert_eq!(tree.place_of(&Path::root().key("é")), place(1, 4));
    assert_eq!(tree.place_of(&path), place(4, 7));
    assert_eq!(tree.place_of(&path.key("drain")), place(4, 7));
    assert_eq!(tree.place_of(&path.keys(&["drain", "nodes"])), place(4, 22));
    assert_eq!(tree.place_of(&path.keys(&["drain", "order"])), place(4, 7), "what is around the missing value");
    assert_eq!(tree.place_of_key(&path.key("drain"), "nodes"), place(4, 15));
}

#[test]
fn an_alias_is_the_value_of_its_anchor() {
    let tree = tree("a: &x {b: [1, 2]}\nc: *x\n");
    assert_eq!(tree.get("c").unwrap().to_json(&[]), serde_json::json!({"b": [1, 2]}));
}

#[test]
fn a_key_written_twice_is_a_problem_and_the_rest_is_still_read() {
    let problem = one_problem("a: 1\nb: 2\na: 3\n");
    assert_eq!((problem.place.line, problem.what.as_str()), (3, "key `a` is written twice; first on line 1"));
    let (tree, _) = parse("a: 1\nb: 2\na: 3\n");
    assert_eq!(tree.unwrap().to_json(&[]), serde_json::json!({"a": 1, "b": 2}));
}

#[test]
fn what_a_file_can_cost_is_bounded() {
    use std::fmt::Write as _;

    let mut doubling = "a0: &a0 [x, x]\n".to_owned();
    for n in 1..60 {
        writeln!(doubling, "a{n}: &a{n} [*a{}, *a{}]", n - 1, n - 1).unwrap();
    }
    assert!(one_problem(&doubling).what.contains("once its aliases are expanded"));

    let mut deepening = "a0: &a0 [x]\n".to_owned();
    for n in 1..100 {
        writeln!(deepening, "a{n}: &a{n} [[[[*a{}]]]]", n - 1).unwrap();
    }
    assert!(one_problem(&deepening).what.contains("levels deep"));

    assert!(parse(&"[".repeat(10_000)).0.is_none());
    assert!(parse(&"- ".repeat(10_000)).0.is_none());
    assert!(one_problem(&"x".repeat(MAX_BYTES + 1)).what.contains("more than"));
    assert!(one_problem("a: &x [*x]\n").what.contains("inside its own anchor"));
}

#[test]
fn what_readers_disagree_on_is_refused() {
    let table = [
        ("mode: 0644\n", "0644 is octal to some readers and decimal to others"),
        ("a: .nan\n", ".nan is not a number that can be used"),
        ("a: !thing x\n", "this value has a tag of its own"),
        ("a: 1\n---\nb: 2\n", "a second document begins here"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "`<<` is not merged in YAML 1.2"),
        ("[a]: 1\n", "a key must be a single word"),
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
    ];
    for (text, what) in table {
        assert_eq!(one_problem(text).what, what, "{text}");
    }
}

#[test]
fn what_is_not_yaml_says_where_and_what_to_do() {
    let table = [
        ("a: b: c\n", 1, "put the text in quotes if it has a `: ` in it, or indent it under its key"),
        ("a:\n\tb: 1\n", 2, "indent with spaces"),
        ("a: [1, 2\n", 1, "close the bracket"),
        ("a: *x\n", 1, "write an anchor such as `&name` before, or put the text in quotes"),
    ];
    for (text, line, instead) in table {
        let problem = one_problem(text);
        assert_eq!((problem.place.line, problem.instead.as_str()), (line, instead), "{text}: {problem:?}");
    }
}
