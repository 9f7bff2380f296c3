//! YAML as a tree that remembers where everything stands.
//!
//! Scalars are typed by the core schema of YAML 1.2, so `no`, `on` and `yes` are texts. Keys are unique. Aliases are expanded within a budget.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::codes;
use crate::fault::{FileFault, Position};

/// Most bytes of a file.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// Most levels.
const MAX_DEPTH: usize = 64;
/// Most values that come from aliases, in one file.
const MAX_ALIASED: usize = 10_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Unique in its file, but for copies by way of an alias.
    pub id: usize,
    pub at: Position,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Scalar { text: String, scalar: Scalar },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What a scalar is; a quoted one is always a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar { scalar: Scalar::Null, .. })
    }

    /// The text of a scalar of any type.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The entry of a map under this key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v)
    }

    /// The value as it would be written on one line, shortened.
    pub fn excerpt(&self) -> String {
        match &self.value {
            Value::Scalar { text, scalar: Scalar::Text } => format!("{:?}", shorten(text)),
            Value::Scalar { text, .. } if text.is_empty() => "nothing".to_owned(),
            Value::Scalar { text, .. } => shorten(text),
            Value::List(entries) => format!("a list of {}", entries.len()),
            Value::Map(entries) => format!("a map of {}", entries.len()),
        }
    }

    /// Where a node stands below this one: `.domains[0]`; a key's place is that of its value.
    pub fn path_to(&self, id: usize) -> Option<String> {
        if self.id == id {
            return Some(String::new());
        }
        match &self.value {
            Value::Scalar { .. } => None,
            Value::List(entries) => entries.iter().enumerate().find_map(|(i, entry)| Some(format!("[{i}]{}", entry.path_to(id)?))),
            Value::Map(entries) => entries.iter().find_map(|(key, value)| {
                let below = if key.id == id { String::new() } else { value.path_to(id)? };
                Some(format!(".{}{below}", shorten(key.text().unwrap_or("?"))))
            }),
        }
    }

    /// A node below this one, by its id; for a key: the key.
    pub fn find(&self, id: usize) -> Option<&Self> {
        if self.id == id {
            return Some(self);
        }
        match &self.value {
            Value::Scalar { .. } => None,
            Value::List(entries) => entries.iter().find_map(|entry| entry.find(id)),
            Value::Map(entries) => entries.iter().find_map(|(key, value)| if key.id == id { Some(key) } else { value.find(id) }),
        }
    }

    /// Takes a node out of the list or map that holds it; for an entry of a map, tells the map and the key.
    pub fn prune(&mut self, id: usize) -> Option<Pruned> {
        match &mut self.value {
            Value::Scalar { .. } => None,
            Value::List(entries) => {
                let before = entries.len();
                entries.retain(|entry| entry.id != id);
                if entries.len() < before { Some(Pruned::Entry) } else { entries.iter_mut().find_map(|entry| entry.prune(id)) }
            }
            Value::Map(entries) => {
                if let Some(index) = entries.iter().position(|(key, value)| key.id == id || value.id == id) {
                    let (key, _) = entries.remove(index);
                    return Some(Pruned::Field { map: self.id, key: key.text().unwrap_or_default().to_owned() });
                }
                entries.iter_mut().find_map(|(_, value)| value.prune(id))
            }
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(entries) => entries.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|(k, v)| k.size() + v.size()).sum::<usize>(),
        }
    }
}

/// What was taken out.
#[derive(Debug, PartialEq)]
pub(crate) enum Pruned {
    /// An entry of a list.
    Entry,
    /// A field of a map.
    Field { map: usize, key: String },
}

/// At most 60 characters of a text.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads every YAML document of a text; those before a mistake come with it.
pub(crate) fn parse(file: &str, text: &str) -> (Vec<Node>, Option<FileFault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(file);
    if text.len() > MAX_BYTES {
        let fault = builder.fault(None, codes::LIMIT, format!("the file has {} bytes; a file has at most {MAX_BYTES}", text.len()));
        return (Vec::new(), Some(fault));
    }
    let mut parser = Parser::new_from_str(text);
    loop {
        let fault = match parser.next_event() {
            None => return (builder.documents, None),
            Some(Ok((event, span))) => builder.event(event, span).err(),
            Some(Err(error)) => Some(syntax(file, text, position(error.marker()), error.info())),
        };
        if fault.is_some() {
            return (builder.documents, fault);
        }
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A syntax fault with a hint where the usual causes show.
fn syntax(file: &str, text: &str, at: Position, info: &str) -> FileFault {
    let fault = FileFault::new(file, Some(at), codes::SYNTAX, format!("not YAML: {info}"));
    let line = |number: usize| text.lines().nth(number.wrapping_sub(1)).unwrap_or_default();
    let tab = |line: &str| line[..line.len() - line.trim_start().len()].contains('\t');
    if tab(line(at.line)) || tab(line(at.line.saturating_sub(1))) {
        return fault.hint("indent with spaces; YAML allows no tabs there");
    }
    let opening =
        |line: &str| line.split_once(": ").is_some_and(|(_, value)| value.starts_with(['@', '`', '%', '*', '&', '!']) || value.contains(": "));
    if opening(line(at.line)) {
        return fault.hint("put texts with `: ` or a leading @ ` % * & ! in quotes");
    }
    fault.hint("look at this line and the one before: indentation, a missing `:`, an open quote or bracket")
}

/// What is being filled.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Node>,
    /// The keys of a map so far, and their lines.
    keys: BTreeMap<String, usize>,
}

struct Builder<'f> {
    file: &'f str,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    aliased: usize,
    next_id: usize,
}

impl<'f> Builder<'f> {
    fn new(file: &'f str) -> Self {
        Self { file, documents: Vec::new(), open: Vec::new(), anchors: BTreeMap::new(), aliased: 0, next_id: 0 }
    }

    fn fault(&self, at: Option<Position>, code: &'static str, message: impl Into<String>) -> FileFault {
        FileFault::new(self.file, at, code, message)
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), FileFault> {
        let at = position(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let mut scalar = if style == ScalarStyle::Plain { resolve(&text) } else { Scalar::Text };
                if let Some(tag) = tag {
                    if !(tag.is_yaml_core_schema() && tag.suffix == "str") {
                        return Err(self.tag(at, &tag.handle, &tag.suffix));
                    }
                    scalar = Scalar::Text;
                }
                let node = self.node(at, Value::Scalar { text: text.into_owned(), scalar });
                self.complete(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(at, Value::List(Vec::new()), anchor, tag.as_deref()),
            Event::MappingStart(anchor, tag) => self.begin(at, Value::Map(Vec::new()), anchor, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.complete(open.node, open.anchor),
                None => Err(self.fault(Some(at), codes::SYNTAX, "an end without a beginning")),
            },
        }
    }

    fn node(&mut self, at: Position, value: Value) -> Node {
        self.next_id += 1;
        Node { id: self.next_id, at, value }
    }

    fn tag(&self, at: Position, handle: &str, suffix: &str) -> FileFault {
        self.fault(Some(at), codes::SYNTAX, format!("tag {:?} is not taken", shorten(&format!("{handle}{suffix}"))))
            .hint("write the value without a tag")
    }

    fn begin(&mut self, at: Position, value: Value, anchor: usize, tag: Option<&saphyr_parser::Tag>) -> Result<(), FileFault> {
        if let Some(tag) = tag {
            return Err(self.tag(at, &tag.handle, &tag.suffix));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.fault(Some(at), codes::LIMIT, format!("more than {MAX_DEPTH} levels of lists and maps")));
        }
        let node = self.node(at, value);
        self.open.push(Open { node, anchor, key: None, keys: BTreeMap::new() });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), FileFault> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.fault(Some(at), codes::SYNTAX, "an alias of a value that contains it"));
        };
        self.aliased += node.size();
        if self.aliased > MAX_ALIASED {
            return Err(self.fault(Some(at), codes::LIMIT, format!("aliases stand for more than {MAX_ALIASED} values")).hint("write the values out"));
        }
        let deepest = self.open.len() + depth(&node);
        if deepest > MAX_DEPTH {
            return Err(self.fault(Some(at), codes::LIMIT, format!("more than {MAX_DEPTH} levels of lists and maps")));
        }
        self.complete(node, 0)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), FileFault> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let file = self.file;
        let Some(open) = self.open.last_mut() else {
            // A document of comments only is no document.
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(entries), _) => entries.push(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::Map(_), None) => {
                let Some(text) = node.text() else {
                    return Err(FileFault::new(file, Some(node.at), codes::WRONG_TYPE, "a key must be a text, not a list or map")
                        .hint("put a text that begins with { or [ in quotes"));
                };
                if let Some(line) = open.keys.insert(text.to_owned(), node.at.line) {
                    let message = format!("{:?} stands twice in one map, first at line {line}", shorten(text));
                    return Err(FileFault::new(file, Some(node.at), codes::DUPLICATE_KEY, message).hint("remove one of the two"));
                }
                open.key = Some(node);
            }
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(entries) => 1 + entries.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, v)| depth(v)).max().unwrap_or(0),
    }
}

/// The core schema of YAML 1.2.
fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    if !text.starts_with(['-', '+', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        return Scalar::Text;
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok());
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| text.parse().ok()) {
        return Scalar::Unsigned(number);
    }
    if let Ok(number) = text.parse() {
        return Scalar::Signed(number);
    }
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    let plain = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    text.parse().ok().filter(|_| plain).map_or(Scalar::Text, Scalar::Float)
}
