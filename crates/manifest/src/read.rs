//! From a tree to documents.

use std::collections::{BTreeMap, BTreeSet};

use model::v1alpha1::{Blueprint, Cell, Machine, Platform, Tenant};
use model::{API_VERSION, CellName, Document, DocumentName, Kind, MachineName, Metadata, PlatformName, Resource, TenantName};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::de::Reader;
use crate::fault::{Faults, FileFault};
use crate::problem::{Problem, What, alternatives, explain};
use crate::tree::{self, Node, Pruned, Scalar, Value, shorten};
use crate::{FILE_KINDS, Manifests, Placed, codes};

/// Most faults told of one document.
const MAX_FAULTS: usize = 20;
/// Most bytes of a template taken in from a file.
pub(crate) const MAX_TEMPLATE: u64 = 128 * 1024;

/// Fields that commands set as well (`tenant suspend`, `cell drain`). A file that does not state one leaves what a command set, so no default is written.
const BRAKES: [&str; 2] = ["state", "scheduling"];

/// Reads the files that a blueprint names, by their paths relative to it; the error says why not.
pub(crate) type Beside<'b> = &'b dyn Fn(&str) -> Result<String, String>;

/// Reads the documents of a text. `file` is only a name, for messages; `templateFile` is refused, as there is nothing beside a text.
///
/// # Errors
/// Everything that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Vec<Document>, Faults> {
    parse_noted(file, text).map(|manifests| manifests.documents.into_iter().map(|placed| placed.document).collect())
}

/// The same with places and notes.
///
/// # Errors
/// Everything that is wrong.
pub fn parse_noted(file: &str, text: &str) -> Result<Manifests, Faults> {
    let mut gathered = Gathered::default();
    gathered.text(file, text, &|_| Err("`templateFile` works in files only".to_owned()));
    gathered.finish()
}

/// What was read so far.
#[derive(Default)]
pub(crate) struct Gathered {
    manifests: Manifests,
    seen: BTreeMap<(Kind, DocumentName), usize>,
    pub faults: Vec<FileFault>,
}

impl Gathered {
    /// Reads one text.
    pub fn text(&mut self, file: &str, text: &str, beside: Beside<'_>) {
        let (trees, fault) = tree::parse(file, text);
        for mut tree in trees {
            let mut reading = Reading { file, faults: Vec::new(), notes: Vec::new() };
            let document = reading.document(&mut tree, beside);
            self.manifests.notes.append(&mut reading.notes);
            match document {
                Some(document) if reading.faults.is_empty() => self.add(Placed { document, file: file.to_owned(), at: tree.at }),
                _ => self.faults.append(&mut reading.faults),
            }
        }
        self.faults.extend(fault);
    }

    fn add(&mut self, placed: Placed) {
        let (kind, name) = (placed.document.kind, placed.document.metadata.name.clone());
        match self.seen.get(&(kind, name.clone())).and_then(|index| self.manifests.documents.get(*index)) {
            Some(first) => {
                let message = format!("{kind} {name} stands twice, first at {}:{}", first.file, first.at);
                let fault = FileFault::new(&placed.file, Some(placed.at), codes::DUPLICATE_DOCUMENT, message);
                self.faults.push(fault.hint("remove one of the two, or give it another name"));
            }
            None => {
                self.seen.insert((kind, name), self.manifests.documents.len());
                self.manifests.documents.push(placed);
            }
        }
    }

    /// The documents in order of application, or everything that is wrong.
    pub fn finish(mut self) -> Result<Manifests, Faults> {
        if !self.faults.is_empty() {
            return Err(Faults(self.faults));
        }
        self.manifests.documents.sort_by_key(|placed| placed.document.kind);
        Ok(self.manifests)
    }
}

/// Metadata as it stands in files. What the store gives is taken and not looked at, so that what was shown can be applied again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileMetadata {
    name: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, rename = "uid")]
    _uid: IgnoredAny,
    #[serde(default, rename = "revision")]
    _revision: IgnoredAny,
    #[serde(default, rename = "generation")]
    _generation: IgnoredAny,
    #[serde(default, rename = "createdAt")]
    _created_at: IgnoredAny,
    #[serde(default, rename = "deletionRequestedAt")]
    _deletion_requested_at: IgnoredAny,
    #[serde(default, rename = "finalizers")]
    _finalizers: IgnoredAny,
}

/// The reading of one document.
struct Reading<'f> {
    file: &'f str,
    faults: Vec<FileFault>,
    notes: Vec<String>,
}

impl Reading<'_> {
    fn fault(&mut self, node: &Node, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(FileFault::new(self.file, Some(node.at), code, message).hint(hint));
    }

    fn document(&mut self, tree: &mut Node, beside: Beside<'_>) -> Option<Document> {
        if !matches!(tree.value, Value::Map(_)) {
            let message = format!("a document must be a map of fields, this is {}", tree.excerpt());
            self.fault(tree, codes::WRONG_TYPE, message, format!("begin with `apiVersion: {API_VERSION}` and `kind: ...`"));
            return None;
        }
        let kind = self.kind(tree)?;
        self.envelope(tree);
        if kind == Kind::Blueprint {
            self.take_in_templates(tree, beside);
        }
        let metadata = self.metadata(tree, kind);
        let spec = match kind {
            Kind::Platform => self.spec::<Platform>(tree),
            Kind::Machine => self.spec::<Machine>(tree),
            Kind::Blueprint => self.spec::<Blueprint>(tree),
            Kind::Cell => self.spec::<Cell>(tree),
            Kind::Tenant => self.spec::<Tenant>(tree),
            Kind::Domain | Kind::Operation | Kind::Secret => None,
        };
        if kind == Kind::Tenant {
            self.note_domains(tree);
        }
        Some(Document { kind, metadata: metadata?, spec: spec?, status: serde_json::Value::Null })
    }

    fn kind(&mut self, tree: &Node) -> Option<Kind> {
        let names = FILE_KINDS.map(Kind::as_str);
        match tree.get("apiVersion").map(|node| (node, node.text())) {
            Some((_, Some(API_VERSION))) => {}
            Some((node, _)) => {
                self.fault(node, codes::UNKNOWN_KIND, format!("unknown apiVersion {}", node.excerpt()), format!("write apiVersion: {API_VERSION}"))
            }
            None => self.fault(tree, codes::UNKNOWN_KIND, "the field `apiVersion` is missing", format!("add `apiVersion: {API_VERSION}`")),
        }
        let Some(node) = tree.get("kind") else {
            self.fault(tree, codes::UNKNOWN_KIND, "the field `kind` is missing", format!("the kinds are {}", names.join(", ")));
            return None;
        };
        let text = node.text().unwrap_or_default();
        match FILE_KINDS.into_iter().find(|kind| kind.as_str() == text) {
            // Without the right version the fields below would be judged by rules that are not theirs.
            Some(kind) => self.faults.is_empty().then_some(kind),
            None if Kind::ALL.iter().any(|kind| kind.as_str() == text) => {
                self.fault(
                    node,
                    codes::UNKNOWN_KIND,
                    format!("a {text} is made by control, not by files"),
                    format!("the kinds are {}", names.join(", ")),
                );
                None
            }
            None => {
                self.fault(node, codes::UNKNOWN_KIND, format!("unknown kind {}", node.excerpt()), alternatives(text, &names, "the kinds are"));
                None
            }
        }
    }

    /// Refuses what stands beside metadata and spec.
    fn envelope(&mut self, tree: &Node) {
        const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
        let Value::Map(entries) = &tree.value else { return };
        for (key, _) in entries.iter().filter(|(key, _)| !KNOWN.contains(&key.text().unwrap_or_default())) {
            let text = key.text().unwrap_or_default();
            let hint = alternatives(text, &KNOWN, "what a kind is about stands under `spec`; beside it there are");
            self.fault(key, codes::UNKNOWN_FIELD, format!("unknown field {:?}", shorten(text)), hint);
        }
    }

    fn metadata(&mut self, tree: &mut Node, kind: Kind) -> Option<Metadata> {
        let fields: FileMetadata = self.part(tree, "metadata")?;
        let whole = tree.get("metadata")?;
        let at = whole.get("name").unwrap_or(whole);
        let name = self.name(at, whole.get("version"), kind, &fields)?;
        for (key, value) in &fields.labels {
            let plain = |text: &str| text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
            if key.is_empty() || !plain(key) || !plain(value) {
                let message =
                    format!("label {:?} = {:?}: labels have at most 63 characters of a-z, A-Z, 0-9 and - _ . /", shorten(key), shorten(value));
                self.fault(
                    whole.get("labels").unwrap_or(whole),
                    codes::BAD_VALUE,
                    message,
                    "labels are for selection; longer texts belong into spec",
                );
            }
        }
        let mut metadata = Metadata::named(name);
        metadata.labels = fields.labels;
        Some(metadata)
    }

    /// The document's name by the rule of its kind; a blueprint's is `<name>.<version>`.
    fn name(&mut self, at: &Node, version: Option<&Node>, kind: Kind, fields: &FileMetadata) -> Option<DocumentName> {
        let name = &fields.name;
        let full = match (kind, &fields.version) {
            (Kind::Blueprint, Some(version)) => format!("{name}.{version}"),
            (Kind::Blueprint, None) if !name.contains('.') => {
                self.fault(
                    at,
                    codes::MISSING_FIELD,
                    "the field `version` is missing",
                    "add `version: 2026.11.1`; a changed blueprint is a new version",
                );
                return None;
            }
            (_, Some(_)) => {
                self.fault(
                    version.unwrap_or(at),
                    codes::UNKNOWN_FIELD,
                    format!("a {kind} has no version"),
                    "remove it; only blueprints have versions",
                );
                return None;
            }
            (_, None) => name.clone(),
        };
        let checked = match kind {
            Kind::Tenant => TenantName::new(&full).map(|name| DocumentName::from(&name)),
            Kind::Cell => CellName::new(&full).map(|name| DocumentName::from(&name)),
            Kind::Machine => MachineName::new(&full).map(|name| DocumentName::from(&name)),
            Kind::Platform => PlatformName::new(&full).map(|name| DocumentName::from(&name)),
            Kind::Blueprint | Kind::Domain | Kind::Operation | Kind::Secret => DocumentName::new(&full),
        };
        checked
            .map_err(|rule| {
                self.fault(at, codes::BAD_VALUE, format!("{:?}: {rule}", shorten(&full)), "names are as in DNS: lower case, digits and hyphens")
            })
            .ok()
    }

    fn spec<R: Resource>(&mut self, tree: &mut Node) -> Option<serde_json::Value> {
        let spec: R::Spec = self.part(tree, "spec")?;
        // The complete form: what was left out has its default, names their canonical spelling.
        let mut complete = serde_json::to_value(spec).ok()?;
        let stated = |field: &str| tree.get("spec").and_then(|spec| spec.get(field)).is_some_and(|node| !node.is_null());
        for brake in BRAKES.iter().filter(|brake| !stated(brake)) {
            complete.as_object_mut().and_then(|fields| fields.remove(*brake));
        }
        Some(complete)
    }

    /// Reads a part of the document. After a problem its node is taken out and reading goes on, so that one run tells many.
    fn part<T: DeserializeOwned>(&mut self, tree: &mut Node, part: &'static str) -> Option<T> {
        let empty = Node { id: usize::MAX, at: tree.at, value: Value::Map(Vec::new()) };
        let mut pruned = BTreeSet::new();
        let mut clean = true;
        for _ in 0..MAX_FAULTS {
            let node = tree.get(part).filter(|node| !node.is_null()).unwrap_or(&empty);
            let problem = match T::deserialize(Reader(node)) {
                Ok(read) => return clean.then_some(read),
                Err(problem) => problem.about(node),
            };
            clean = false;
            if let (What::MissingField { field }, Some(at)) = (&problem.what, problem.at) {
                // Missing because it was taken out: it is told already.
                if !pruned.contains(&(at, (*field).to_owned())) {
                    self.tell(tree, node.id == usize::MAX, part, &problem);
                }
                return None;
            }
            self.tell(tree, false, part, &problem);
            match problem.at.and_then(|id| if tree.get(part).is_some_and(|node| node.id == id) { None } else { tree.prune(id) }) {
                Some(Pruned::Field { map, key }) => {
                    pruned.insert((map, key));
                }
                Some(Pruned::Entry) => {}
                None => return None,
            }
        }
        None
    }

    fn tell(&mut self, tree: &Node, absent: bool, part: &str, problem: &Problem) {
        let mut fault = explain(self.file, tree, problem);
        if absent {
            fault.path = part.to_owned();
        }
        self.faults.push(fault);
    }

    /// Puts the texts of `templateFile`s where their `template`s would stand.
    fn take_in_templates(&mut self, tree: &mut Node, beside: Beside<'_>) {
        let settings = tree.get_mut("spec").and_then(|spec| spec.get_mut("tenant")).and_then(|tenant| tenant.get_mut("settings"));
        let Some(Node { value: Value::List(settings), .. }) = settings else { return };
        for setting in settings {
            let both = setting.get("template").is_some();
            let Value::Map(entries) = &mut setting.value else { continue };
            let Some((key, value)) = entries.iter_mut().find(|(key, _)| key.text() == Some("templateFile")) else { continue };
            let path = value.text().unwrap_or_default();
            let text = if both { Err("`template` stands here too".to_owned()) } else { beside(path) };
            match text {
                Ok(text) => {
                    key.value = Value::Scalar { text: "template".to_owned(), scalar: Scalar::Text };
                    value.value = Value::Scalar { text, scalar: Scalar::Text };
                }
                Err(why) => {
                    let message = format!("templateFile {}: {why}", value.excerpt());
                    let fault = FileFault::new(self.file, Some(value.at), codes::TEMPLATE_FILE, message);
                    self.faults.push(fault.hint("give a path relative to the blueprint's file, without `..`"));
                    // Told once: what follows should not complain about the field as well.
                    key.value = Value::Scalar { text: if both { "path" } else { "template" }.to_owned(), scalar: Scalar::Text };
                    value.value = Value::Scalar { text: "unread".to_owned(), scalar: Scalar::Text };
                }
            }
        }
    }

    /// Notes domains that are kept in another spelling than the file's.
    fn note_domains(&mut self, tree: &Node) {
        let Some(Value::List(domains)) = tree.get("spec").and_then(|spec| spec.get("domains")).map(|node| &node.value) else { return };
        for node in domains {
            let Some(text) = node.text() else { continue };
            if let Ok(domain) = model::DomainName::new(text)
                && domain.as_str() != text
            {
                self.notes.push(format!("{}:{}: the domain {:?} is kept as {domain}", self.file, node.at, shorten(text)));
            }
        }
    }
}
