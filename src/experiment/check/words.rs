//! The words of the check's messages, taken from the schema.

use serde_json::Value as Json;

/// Words that differ by more than this share of their letters are not taken for slips of each other.
const LEAST_SIMILARITY: f64 = 0.6;

/// Follows a `$ref`, and says which definition it leads to.
pub(super) fn resolve<'a>(root: &'a Json, schema: &'a Json) -> (Option<&'a str>, &'a Json) {
    let name = schema.get("$ref").and_then(Json::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
    let definition = name.and_then(|name| root.get("$defs")?.get(name));
    (name, definition.unwrap_or(schema))
}

/// The one key that a member of a union has, with the schema of its value.
pub(super) fn single_key(member: &Json) -> Option<(&str, &Json)> {
    let (key, schema) = member.get("properties")?.as_object()?.iter().next()?;
    Some((key, schema))
}

/// What may be written for a union: its words, and its keys.
pub(super) fn choices(members: &[Json]) -> Vec<String> {
    let word = |one: &Json| one.get("const").and_then(Json::as_str).map(str::to_owned);
    members.iter().filter_map(|one| word(one).or_else(|| single_key(one).map(|(key, _)| key.to_owned()))).collect()
}

/// What one of a definition is called.
pub(super) fn noun(definition: Option<&str>) -> &'static str {
    match definition {
        Some("Step") => "step",
        Some("Expectation") => "expectation",
        Some("Connections") => "way of connecting",
        _ => "word",
    }
}

/// The smallest and largest number that an integer's schema allows.
pub(super) fn bounds(schema: &Json) -> (u64, u64) {
    let of_format = match schema.get("format").and_then(Json::as_str) {
        Some("uint16") => u64::from(u16::MAX),
        Some("uint32") => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    let least = schema.get("minimum").and_then(Json::as_u64).unwrap_or(0);
    (least, schema.get("maximum").and_then(Json::as_u64).unwrap_or(of_format))
}

/// What a schema asks for, to follow "write".
pub(super) fn wanted(root: &Json, schema: &Json) -> String {
    let (name, schema) = resolve(root, schema);
    if let Some(members) = schema.get("oneOf").and_then(Json::as_array) {
        let keys = members.iter().filter_map(single_key).map(|(key, _)| format!("`{key}: …`"));
        let consts = members.iter().filter_map(|one| one.get("const").and_then(Json::as_str));
        return any_of(&consts.map(|word| format!("`{word}`")).chain(keys).collect::<Vec<_>>());
    }
    match schema.get("type").and_then(Json::as_str) {
        // A unit describes itself.
        Some("string") if schema.get("pattern").is_some() => description(schema).unwrap_or("a text").to_owned(),
        Some("string") => "a text".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => match bounds(schema) {
            (least, most) if u16::try_from(most).is_ok() => format!("a whole number from {least} to {most}"),
            (least, _) => format!("a whole number, at least {least}"),
        },
        Some("array") => "a list, each item after a `-`".to_owned(),
        Some("object") => keys_in_words(name, schema),
        _ => "a value".to_owned(),
    }
}

fn description(schema: &Json) -> Option<&str> {
    schema.get("description").and_then(Json::as_str)
}

fn keys_in_words(name: Option<&str>, schema: &Json) -> String {
    let Some(known) = schema.get("properties").and_then(Json::as_object) else {
        return "`key: value` lines, indented under it".to_owned();
    };
    let keys: Vec<String> = known.keys().map(|key| format!("`{key}`")).collect();
    match name {
        Some("NodePick") => "one of `names`, `withPods` and `selector`, indented under it".to_owned(),
        _ => format!("the keys {}, indented under it", keys.join(", ")),
    }
}

fn any_of(choices: &[String]) -> String {
    match choices {
        [] => "a value".to_owned(),
        [only] => only.clone(),
        several => format!("one of {}", several.join(", ")),
    }
}

/// All choices, to follow what is wrong.
pub(super) fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|one| format!("`{one}`")).collect();
    format!("write {}", any_of(&quoted))
}

/// The choice that was probably meant, and all of them.
pub(in crate::experiment) fn did_you_mean(found: &str, choices: &[&str]) -> String {
    let folded = found.to_lowercase();
    let similarity = |choice: &str| strsim::normalized_damerau_levenshtein(&folded, &choice.to_lowercase());
    let nearest = choices
        .iter()
        .map(|choice| (similarity(choice), *choice))
        .filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, choice)) if choices.len() == 1 => format!("did you mean `{choice}`?"),
        Some((_, choice)) => format!("did you mean `{choice}`? {}", one_of(choices)),
        None => one_of(choices),
    }
}
