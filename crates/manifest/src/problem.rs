//! What serde says while a tree is read, kept apart from words until the place is known.

use model::Whose;

use crate::codes;
use crate::fault::FileFault;
use crate::tree::{Node, Scalar, Value, shorten};

/// Something does not fit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// The node it is about; set where it is first known.
    pub at: Option<usize>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    UnknownField { field: String, known: &'static [&'static str] },
    UnknownVariant { variant: String, known: &'static [&'static str] },
    MissingField { field: &'static str },
    Type { wanted: String },
    Value { rule: String },
}

impl Problem {
    pub const fn new(what: What) -> Self {
        Self { at: None, what }
    }

    /// The same, about this node where none is known yet.
    pub fn about(mut self, node: &Node) -> Self {
        self.at.get_or_insert(node.id);
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(What::Value { rule: message.to_string() })
    }
    fn invalid_type(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::new(What::Type { wanted: wanted(&expected.to_string()) })
    }
    fn invalid_value(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::new(What::Value { rule: format!("wanted is {}", wanted(&expected.to_string())) })
    }
    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownVariant { variant: variant.to_owned(), known })
    }
    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownField { field: field.to_owned(), known })
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(What::MissingField { field })
    }
}

/// Rust's words in those of people who write files.
fn wanted(expected: &str) -> String {
    let words = match expected {
        "a string" | "a borrowed string" | "a character" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a map of fields",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        other if other.starts_with("struct ") => "a map of fields",
        other if other.starts_with("enum ") || other.starts_with("string or map") => "one of its fixed words",
        other => other,
    };
    words.to_owned()
}

/// Puts a problem into words, with the place of its node in `document`.
pub(crate) fn explain(file: &str, document: &Node, problem: &Problem) -> FileFault {
    let node = problem.at.and_then(|id| document.find(id)).unwrap_or(document);
    let path = document.path_to(node.id).unwrap_or_default();
    let path = path.trim_start_matches('.');
    let value = node.excerpt();
    let (code, message, hint) = words(&problem.what, node, &value);
    let mut fault = FileFault::new(file, Some(node.at), code, message);
    debug_assert_eq!(fault.fault.whose, Whose::Caller);
    fault.path = path.to_owned();
    fault.value = Some(value);
    fault.fault.hint = hint;
    fault
}

fn words(what: &What, node: &Node, value: &str) -> (&'static str, String, Option<String>) {
    match what {
        What::UnknownField { field, known } => {
            (codes::UNKNOWN_FIELD, format!("unknown field {:?}", shorten(field)), Some(alternatives(field, known, "the fields here are")))
        }
        What::UnknownVariant { variant, known } => (
            codes::BAD_VALUE,
            format!("{:?} is not one of the words allowed here", shorten(variant)),
            Some(alternatives(variant, known, "allowed are")),
        ),
        What::MissingField { field } => (codes::MISSING_FIELD, format!("the field `{field}` is missing"), Some(format!("add `{field}: ...`"))),
        What::Type { wanted } => (codes::WRONG_TYPE, format!("wanted is {wanted}, this is {}", kind_of(node, value)), type_hint(wanted, node)),
        What::Value { rule } if node.text().is_some_and(|text| rule.contains(text)) => (codes::BAD_VALUE, rule.clone(), None),
        What::Value { rule } => (codes::BAD_VALUE, format!("{value}: {rule}"), None),
    }
}

fn kind_of(node: &Node, value: &str) -> String {
    match &node.value {
        Value::Scalar { scalar, .. } => match scalar {
            Scalar::Null => "nothing (null)".to_owned(),
            Scalar::Bool(_) => format!("the truth value {value}"),
            Scalar::Unsigned(_) | Scalar::Signed(_) | Scalar::Float(_) => format!("the number {value}"),
            Scalar::Text => format!("the text {value}"),
        },
        Value::List(_) | Value::Map(_) => value.to_owned(),
    }
}

fn type_hint(wanted: &str, node: &Node) -> Option<String> {
    let text = node.text();
    let scalar = match &node.value {
        Value::Scalar { scalar, .. } => Some(*scalar),
        Value::List(_) | Value::Map(_) => None,
    };
    match (wanted, scalar) {
        ("a text", Some(Scalar::Null)) => Some("write a value after the colon, or \"\" for an empty text".to_owned()),
        ("a text", Some(_)) => Some(format!("put it in quotes: \"{}\"", shorten(text.unwrap_or_default()))),
        ("true or false", _) => Some("write true or false, without quotes; yes, no, on and off are texts".to_owned()),
        ("a list", Some(_)) => Some(format!("write a list: [{}]", shorten(text.unwrap_or_default()))),
        (wanted, Some(Scalar::Text)) if wanted.starts_with("a whole number") => Some("write it without quotes and without a unit".to_owned()),
        _ => None,
    }
}

/// "did you mean", or what there is.
pub(crate) fn alternatives(given: &str, known: &[&str], otherwise: &str) -> String {
    if given == "<<" {
        return "merge keys are not part of YAML 1.2: write the fields out".to_owned();
    }
    match closest(given, known) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None if known.is_empty() => "none are allowed here".to_owned(),
        None => format!("{otherwise} {}", known.join(", ")),
    }
}

/// The known word that was probably meant: the same but for case and hyphens, or few letters off.
fn closest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let given = plain(&shorten(given));
    let distance = |word: &&'k str| (strsim::damerau_levenshtein(&given, &plain(word)), *word);
    let (distance, word) = known.iter().map(distance).min()?;
    let most = if given.chars().count() < 5 { 1 } else { 2.max(given.chars().count() / 4) };
    (distance <= most).then_some(word)
}
