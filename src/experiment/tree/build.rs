//! From the parser's events to a tree, within bounds, with every problem that does not stop the parser.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Tag, options};
use serde_json::Value as Json;

use super::{Entry, Node, Scalar, Value, scalar};
use crate::experiment::problem::{Place, Problem};

/// The largest file that is read. Kubernetes refuses objects of more than 1.5 MiB; an experiment has a handful.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The deepest that values may lie in each other; a pod template needs less than 20.
pub const MAX_DEPTH: usize = 64;
/// The most values that a file may have once its aliases are expanded, against those that double and double.
pub const MAX_NODES: usize = 100_000;

/// Reads one YAML document.
///
/// The tree is there whenever the text can be read to its end; the problems say what in it cannot be kept, such as a
/// key written twice (the first is kept).
#[must_use]
pub fn parse(text: &str) -> (Option<Node>, Vec<Problem>) {
    if text.len() > MAX_BYTES {
        let what = format!("the file has {} bytes, more than the {MAX_BYTES} that are read", text.len());
        return (None, vec![problem(Place::START, what, "split it into several experiments")]);
    }
    let options = options! { emit_comments: false, block_nesting_limit: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let handled = match next {
            Ok((event, span)) => builder.take(event, place(&span.start)),
            Err(error) => Err(syntax(&error)),
        };
        if let Err(fatal) = handled {
            builder.problems.push(fatal);
            return (None, builder.problems);
        }
    }
    if builder.root.is_none() && builder.problems.is_empty() {
        builder.problems.push(problem(
            Place::START,
            "the file is empty",
            "begin with `apiVersion: evenkeel/v1` and `kind: Experiment`",
        ));
    }
    (builder.root, builder.problems)
}

fn problem(place: Place, what: impl Into<String>, instead: impl Into<String>) -> Problem {
    Problem { place, what: what.into(), instead: instead.into() }
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

fn syntax(error: &ScanError) -> Problem {
    let instead = match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            "indent with spaces"
        }
        ErrorKind::MappingValueNotAllowed => {
            "put the text in quotes if it has a `: ` in it, or indent it under its key"
        }
        ErrorKind::UnknownAnchor => "write an anchor such as `&name` before, or put the text in quotes",
        ErrorKind::RecursionLimitExceeded => "use fewer levels",
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::MismatchedFlowCollectionEnd { .. } => "close the bracket",
        ErrorKind::UnclosedQuotedScalar => "close the quotes",
        _ => "correct the YAML there, or put the text in quotes",
    };
    problem(place(error.marker()), format!("not YAML: {}", error.info()), instead)
}

/// A list or map that is being filled.
struct Open {
    node: Node,
    anchor: usize,
    /// The depth below it so far.
    height: usize,
    /// In a map: what the next value is.
    next: Next,
}

/// What the next value of a map is.
enum Next {
    Key,
    ValueOf(String, Place),
    /// The value of a key that is left out.
    Nothing,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Finished values with an anchor, and how deep they are.
    anchored: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    problems: Vec<Problem>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let instead = "put each experiment into a file of its own";
                    return Err(problem(place, "a second document begins here", instead));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, tag.as_deref(), place);
                self.count(1, place)?;
                self.finish(Node { place, value: Value::Scalar(scalar) }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(Value::List(Vec::new()), anchor, tag.as_deref(), place),
            Event::MappingStart(_, anchor, tag) => self.begin(Value::Map(Vec::new()), anchor, tag.as_deref(), place),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.finish(done.node, done.anchor, done.height + 1),
                None => Ok(()),
            },
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Scalar {
        let core = tag.and_then(Tag::core_suffix);
        if tag.is_some_and(|tag| core.is_none() && tag.original() != "!") {
            self.refuse_tag(place);
        }
        let is_plain = match core {
            Some("str") => false,
            Some(_) => true,
            None => style == ScalarStyle::Plain && tag.is_none(),
        };
        let meaning = if is_plain { scalar::plain(text) } else { Ok(Json::String(text.to_owned())) };
        let meaning = meaning.unwrap_or_else(|(what, instead)| {
            self.problems.push(problem(place, what, instead));
            Json::String(text.to_owned())
        });
        Scalar { text: text.to_owned(), meaning }
    }

    fn refuse_tag(&mut self, place: Place) {
        self.problems.push(problem(place, "this value has a tag of its own", "write it without the `!…`"));
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let what = format!("the file has more than {MAX_NODES} values once its aliases are expanded");
            return Err(problem(place, what, "use fewer aliases"));
        }
        Ok(())
    }

    fn begin(&mut self, value: Value, anchor: usize, tag: Option<&Tag>, place: Place) -> Result<(), Problem> {
        if tag.is_some_and(|tag| tag.core_suffix().is_none()) {
            self.refuse_tag(place);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.open.push(Open { node: Node { place, value }, anchor, height: 0, next: Next::Key });
        self.count(1, place)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Problem> {
        let Some((node, height)) = self.anchored.get(&anchor).cloned() else {
            return Err(problem(place, "this alias stands inside its own anchor", "write the value out"));
        };
        if self.open.len() + height > MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.count(size(&node), place)?;
        self.finish(node, 0, height)
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, height: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.anchored.insert(anchor, (node.clone(), height));
            // The copy takes memory as an expanded alias does.
            self.count(size(&node), node.place)?;
        }
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        parent.height = parent.height.max(height);
        match &mut parent.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match std::mem::replace(&mut parent.next, Next::Key) {
                Next::Key => match read_key(&node, entries) {
                    Ok(key) => parent.next = Next::ValueOf(key, node.place),
                    Err(wrong) => {
                        parent.next = Next::Nothing;
                        self.problems.push(wrong);
                    }
                },
                Next::ValueOf(key, place) => entries.push(Entry { key, place, value: node }),
                Next::Nothing => {}
            },
            Value::Scalar(_) => {}
        }
        Ok(())
    }
}

fn too_deep(place: Place) -> Problem {
    problem(place, format!("values lie more than {MAX_DEPTH} levels deep"), "use fewer levels")
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| 1 + size(&entry.value)).sum::<usize>(),
    }
}

/// A key as text, or why it is left out.
fn read_key(node: &Node, entries: &[Entry]) -> Result<String, Problem> {
    let Value::Scalar(scalar) = &node.value else {
        return Err(problem(node.place, "a key must be a single word", "write `key: value`"));
    };
    if scalar.text == "<<" {
        return Err(problem(node.place, "`<<` is not merged in YAML 1.2", "write the keys out"));
    }
    if let Some(first) = entries.iter().find(|entry| entry.key == scalar.text) {
        let what = format!("key `{}` is written twice; first on line {}", scalar.text, first.place.line);
        return Err(problem(node.place, what, "remove one of them"));
    }
    Ok(scalar.text.clone())
}
