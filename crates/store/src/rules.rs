//! What a commit does, as a pure function: every store decides by this one, so that no two of them differ in a corner.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use model::{Document, DocumentName, Generation, Kind, Metadata, Revision};
use serde_json::Value;

use crate::{Committed, Compare, Event, Key, Lease, ListOptions, MAX_COMMIT, MAX_DOCUMENT, Page, PageToken, StoreError, Write};

/// What a decision may look at: one consistent state of the store.
pub trait View {
    /// A document, where it stands.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be read.
    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError>;

    /// Whether this lease is held now under this fence.
    fn held(&self, lease: &Lease) -> bool;

    /// An id never given before.
    fn uid(&mut self) -> String;
}

/// How one document changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The change's own revision; no two changes share one, so a reader can go on behind any of them.
    pub revision: Revision,
    /// What became of it.
    pub fate: Fate,
    /// How it stands now; how it last stood, at the revision of its removal, where it is gone.
    pub document: Document,
    /// How it stood before; none: it was created.
    pub before: Option<Document>,
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was created or changed.
    Stands,
    /// It was removed.
    Gone,
}

impl Change {
    /// The document's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.document.kind
    }

    /// What a watcher is told.
    #[must_use]
    pub fn event(&self) -> Event {
        match self.fate {
            Fate::Stands => Event::Put(self.document.clone()),
            Fate::Gone => Event::Gone(self.document.clone()),
        }
    }

    /// A document's way from `before` to `after`; none where it never stood.
    fn between(revision: Revision, before: Option<Document>, after: Option<&Document>) -> Option<Self> {
        let fate = if after.is_some() { Fate::Stands } else { Fate::Gone };
        let mut document = after.or(before.as_ref())?.clone();
        document.metadata.revision = revision;
        Some(Self { revision, fate, document, before })
    }
}

/// A commit that is allowed, and what it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The answer.
    pub committed: Committed,
    /// The changes, in order of revision; none: everything stood already.
    pub changes: Vec<Change>,
}

/// Decides a commit against a state at revision `head`. Touches nothing.
///
/// # Errors
/// The first compare that does not hold, then the first write that is not acceptable.
pub fn decide(view: &mut dyn View, head: Revision, now: Timestamp, compares: &[Compare], writes: &[Write]) -> Result<Decision, StoreError> {
    let documents = writes.iter().map(Write::key).collect::<BTreeSet<_>>().len();
    if documents > MAX_COMMIT || compares.len() > MAX_COMMIT {
        return Err(StoreError::Refused(format!(
            "a commit touches at most {MAX_COMMIT} documents and has as many compares, this one {documents} and {}",
            compares.len()
        )));
    }
    for compare in compares {
        if !holds(view, compare)? {
            return Err(StoreError::Conflict(compare.clone()));
        }
    }
    let mut touched: Touched = Touched::default();
    for write in writes {
        touched.apply(view, write, now)?;
    }
    touched.finish(head, writes)
}

fn holds(view: &dyn View, compare: &Compare) -> Result<bool, StoreError> {
    Ok(match compare {
        Compare::Revision(key, revision) => view.document(key)?.is_some_and(|d| d.metadata.revision == *revision),
        Compare::Absent(key) => view.document(key)?.is_none(),
        Compare::Fence(lease) => view.held(lease),
    })
}

/// The documents of one commit, before and after, in the order in which they were first written.
#[derive(Default)]
struct Touched {
    order: Vec<Key>,
    documents: BTreeMap<Key, (Option<Document>, Option<Document>)>,
}

impl Touched {
    fn apply(&mut self, view: &mut dyn View, write: &Write, now: Timestamp) -> Result<(), StoreError> {
        let key = write.key();
        if !self.documents.contains_key(key) {
            let before = view.document(key)?;
            self.order.push(key.clone());
            self.documents.insert(key.clone(), (before.clone(), before));
        }
        let Some((before, current)) = self.documents.get_mut(key) else { return Ok(()) };
        match write {
            Write::Spec { spec, labels, finalizers, .. } => match current {
                Some(document) => {
                    document.spec = spec.clone();
                    document.metadata.labels = labels.clone();
                }
                // Whoever watches would see one document turn into another; two commits say what happened.
                None if before.is_some() => return Err(StoreError::Refused(format!("{key} is deleted and created in one commit"))),
                None => *current = Some(create(key, spec, labels, finalizers, view.uid(), now)),
            },
            Write::Status { status, .. } => standing(current, key)?.status = status.clone(),
            Write::Finalizers { add, remove, .. } => finalizers(current, key, add, remove)?,
            Write::Asked { by, .. } => standing(current, key)?.metadata.asked_by = Some(by.clone()),
            Write::Delete(_) => match current {
                Some(document) if !document.metadata.finalizers.is_empty() => {
                    document.metadata.deletion_requested_at.get_or_insert(now);
                }
                _ => *current = None,
            },
        }
        Ok(())
    }

    fn finish(mut self, head: Revision, writes: &[Write]) -> Result<Decision, StoreError> {
        let mut revision = head;
        let mut changes = Vec::new();
        for key in &self.order {
            let Some((before, after)) = self.documents.get_mut(key) else { continue };
            if before == after {
                continue;
            }
            revision = revision.next();
            if let Some(document) = after {
                document.metadata.revision = revision;
                document.metadata.generation = match before {
                    Some(old) if old.spec == document.spec => old.metadata.generation,
                    Some(old) => old.metadata.generation.next(),
                    None => Generation(1),
                };
                check_size(key, document)?;
            }
            changes.extend(Change::between(revision, before.clone(), after.as_ref()));
        }
        let documents = writes.iter().map(|w| self.documents.get(w.key()).and_then(|(_, after)| after.clone())).collect();
        Ok(Decision { committed: Committed { revision, documents }, changes })
    }
}

fn create(key: &Key, spec: &Value, labels: &BTreeMap<String, String>, finalizers: &BTreeSet<String>, uid: String, now: Timestamp) -> Document {
    let metadata = Metadata {
        labels: labels.clone(),
        uid,
        created_at: Some(now),
        finalizers: finalizers.clone(),
        generation: Generation(1),
        ..Metadata::named(key.name.clone())
    };
    Document { kind: key.kind, metadata, spec: spec.clone(), status: Value::Null }
}

fn standing<'a>(current: &'a mut Option<Document>, key: &Key) -> Result<&'a mut Document, StoreError> {
    current.as_mut().ok_or_else(|| StoreError::NotFound(key.clone()))
}

fn finalizers(current: &mut Option<Document>, key: &Key, add: &BTreeSet<String>, remove: &BTreeSet<String>) -> Result<(), StoreError> {
    let document = standing(current, key)?;
    let marked = document.metadata.deletion_requested_at.is_some();
    if marked && let Some(new) = add.iter().find(|f| !document.metadata.finalizers.contains(*f)) {
        return Err(StoreError::Refused(format!("{key} is marked for deletion and takes no new finalizer ({new})")));
    }
    document.metadata.finalizers.extend(add.iter().cloned());
    document.metadata.finalizers.retain(|f| !remove.contains(f));
    if marked && document.metadata.finalizers.is_empty() {
        *current = None;
    }
    Ok(())
}

fn check_size(key: &Key, document: &Document) -> Result<(), StoreError> {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, document).map_err(|e| StoreError::Refused(format!("{key} cannot be written: {e}")))?;
    if counter.0 > MAX_DOCUMENT {
        return Err(StoreError::Refused(format!("{key} has {} bytes; a document has at most {MAX_DOCUMENT}", counter.0)));
    }
    Ok(())
}

/// Counts bytes without keeping them.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Rewinds documents of a kind to an earlier revision: what each document changed since looked like then (none: it did not stand).
/// `changes` are those after that revision, in order.
#[must_use]
pub fn rewind<'a>(changes: impl Iterator<Item = &'a Change>) -> BTreeMap<DocumentName, Option<Document>> {
    let mut then = BTreeMap::new();
    for change in changes {
        then.entry(change.document.metadata.name.clone()).or_insert_with(|| change.before.clone());
    }
    then
}

/// Builds one page as of `revision`. `now` are the documents that stand, ordered by name, from the page's beginning on; `then` is [`rewind`]'s answer.
///
/// # Errors
/// Whatever reading `now` gives.
pub fn page(
    now: impl Iterator<Item = Result<Document, StoreError>>,
    then: BTreeMap<DocumentName, Option<Document>>,
    revision: Revision,
    options: &ListOptions,
) -> Result<Page, StoreError> {
    let after = options.page.as_ref().map(|p| p.after.clone());
    let limit = options.limit.unwrap_or(usize::MAX).max(1);
    let mut documents: Vec<Document> = Vec::new();
    let mut past = then.iter().filter(|(name, _)| after.as_ref().is_none_or(|a| *name > a)).filter_map(|(_, d)| d.clone()).peekable();
    let mut now = now.filter(|d| d.as_ref().map_or(true, |d| !then.contains_key(&d.metadata.name))).peekable();
    loop {
        let take_past = match (past.peek(), now.peek()) {
            (None, None) => return Ok(Page { documents, revision, next: None }),
            (Some(_), None) => true,
            (None, Some(_)) | (Some(_), Some(Err(_))) => false,
            (Some(p), Some(Ok(n))) => p.metadata.name < n.metadata.name,
        };
        let next = if take_past { past.next().map(Ok) } else { now.next() };
        let Some(document) = next.transpose()? else { continue };
        if !options.labels.iter().all(|(k, v)| document.metadata.labels.get(k) == Some(v)) {
            continue;
        }
        if documents.len() == limit {
            let after = documents.last().map(|d| d.metadata.name.clone());
            return Ok(Page { documents, revision, next: after.map(|after| PageToken { revision, after }) });
        }
        documents.push(document);
    }
}
