use super::*;

fn path(steps: &[&str]) -> Vec<Element> {
    steps.iter().map(|step| Element::read(step).unwrap()).collect()
}

#[test]
fn fields_v1_is_written_as_it_was_read() {
    let cases = [
        json!({}),
        json!({"f:spec": {"f:replicas": {}}}),
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}),
        json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}}}),
        json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"example.org/keep\"": {}}}}),
    ];
    for case in cases {
        assert_eq!(FieldSet::read(&case).unwrap().write(), case);
    }
}

#[test]
fn keys_are_sorted_whoever_wrote_them() {
    let one = Element::read(r#"k:{"protocol":"TCP","containerPort":80}"#).unwrap();
    assert_eq!(one, Element::read(r#"k:{"containerPort":80,"protocol":"TCP"}"#).unwrap());
    assert_eq!(one.to_string(), r#"[containerPort=80,protocol="TCP"]"#);
}

#[test]
fn what_is_no_field_set_is_refused() {
    for case in [json!([]), json!({"spec": {}}), json!({"x:a": {}}), json!({"k:[1]": {}}), json!({"f:a": 1})] {
        assert_eq!(FieldSet::read(&case), None, "{case}");
    }
}

#[test]
fn a_path_says_nothing_of_those_below_it() {
    let mut labels = FieldSet::default();
    labels.insert(&path(&["f:metadata", "f:labels"]));
    let mut both = labels.clone();
    both.insert(&path(&["f:metadata", "f:labels", "f:app"]));
    let mut app = FieldSet::default();
    app.insert(&path(&["f:metadata", "f:labels", "f:app"]));

    assert_eq!(both.difference(&labels), app);
    assert_eq!(both.difference(&app), labels);
    assert_eq!(both.intersection(&app), app);
    assert!(app.intersection(&labels).is_empty());
    assert_eq!(labels.union(&app), both);
}

#[test]
fn paths_are_told_as_in_conflicts() {
    let set = FieldSet::read(&json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:args": {}}
    }}}}}));
    let texts: Vec<String> = set.unwrap().paths().iter().map(|path| path_text(path)).collect();
    assert_eq!(
        texts,
        [
            r#".spec.template.spec.containers[name="web"]"#,
            r#".spec.template.spec.containers[name="web"].args"#,
            r#".spec.template.spec.containers[name="web"].image"#,
        ]
    );
}
