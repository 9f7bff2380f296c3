//! The book: every entry in one SQLite file, the names in memory, parsed certificates in a bounded cache.
//!
//! An entry stands in two tables: what the start needs (names, end, number) apart from what a handshake needs (chain, sealed key), so that opening reads only the
//! small one. Two edges that replace one another share a file; each keeps its own place in memory.

mod file;
mod names;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use identity::Sealer;
use jiff::Timestamp;
use lru::LruCache;
use model::Sensitive;
use rusqlite::Connection;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use self::names::{Mark, Names};
use crate::{Certificate, Challenge, DEFAULT, EVERYBODY, Entry, Https, Kind, Line, Pair, Tickets, What};

/// Gone challenges are remembered for so many numbers, for edges that are a little behind.
const REMEMBER_GONE: u64 = 10_000;

/// Why a book cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file is no book of this release, or is damaged as a whole.
    #[error("{} is no book of certificates that this release can read", .0.display())]
    Damaged(PathBuf, #[source] Option<rusqlite::Error>),
    /// The file cannot be read or written.
    #[error("the book of certificates cannot be used")]
    File(#[from] rusqlite::Error),
    /// The folder cannot be used.
    #[error("the book of certificates cannot be used")]
    Folder(#[from] std::io::Error),
    /// An entry cannot be kept.
    #[error("{kind} {name} is refused: {reason}", kind = kind.as_str())]
    Refused {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// An entry that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The certificate's name.
    pub name: String,
    /// Why it is not shown, or should not be.
    pub reason: String,
}

/// What a handshake is answered with.
#[derive(Debug, Clone)]
pub enum Choice {
    /// This, at hand.
    Ready(Arc<CertifiedKey>),
    /// One that must be read first: [`Book::load`].
    OnDisk,
    /// None covers the name.
    None,
}

/// What came of a line of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was taken.
    Taken,
    /// It was taken, but this entry is of no use.
    Useless(Problem),
    /// The sender stands elsewhere: begin anew from the start.
    Apart,
}

/// Parsed certificates by name, with the number of the entry they were read from.
type Parsed = LruCache<Arc<str>, (u64, Arc<CertifiedKey>)>;

/// Every certificate, open challenge and ticket key.
pub struct Book {
    path: PathBuf,
    sealer: Sealer,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    names: RwLock<Names>,
    parsed: Mutex<Parsed>,
    challenges: RwLock<HashMap<String, Challenge>>,
    policies: RwLock<HashMap<Box<str>, Https>>,
    tickets: Arc<Tickets>,
    place: Mutex<Place>,
    changed: watch::Sender<u64>,
}

/// How far this book is.
#[derive(Debug, Clone, Default)]
struct Place {
    incarnation: String,
    number: u64,
    /// While everything is told anew: whose, and what has come.
    anew: Option<(String, HashSet<(Kind, String)>)>,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Book({})", self.path.display())
    }
}

impl Book {
    /// Opens a book, or makes an empty one. `remember` parsed certificates are kept in memory.
    ///
    /// # Errors
    /// [`BookError`]; single entries that are of no use are no error, see [`Book::problems`].
    pub fn open(path: &Path, sealer: Sealer, remember: usize) -> Result<Self, BookError> {
        let (writer, reader) = (file::open(path)?, file::open(path)?);
        let damaged = |error| BookError::Damaged(path.to_owned(), Some(error));
        let mut names = Names::default();
        let mut useless = Vec::new();
        file::marks(&writer, |mark| match mark {
            Ok(mark) => names.add(mark),
            Err(problem) => useless.push(problem),
        })
        .map_err(damaged)?;
        names.useless.extend(useless);
        let place = Place { incarnation: file::incarnation(&writer).map_err(damaged)?, number: file::number(&writer).map_err(damaged)?, anew: None };
        let book = Self {
            path: path.to_owned(),
            sealer,
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
            names: RwLock::new(names),
            parsed: Mutex::new(LruCache::new(NonZeroUsize::new(remember).unwrap_or(NonZeroUsize::MIN))),
            challenges: RwLock::default(),
            policies: RwLock::default(),
            tickets: Arc::default(),
            changed: watch::Sender::new(place.number),
            place: Mutex::new(place),
        };
        for kind in [Kind::Challenge, Kind::Tickets, Kind::Policy] {
            let all = file::of_kind(&lock(&book.reader), kind)?;
            for raw in all {
                match book.open_entry(raw) {
                    Ok(entry) => book.note_small(&entry),
                    Err(problem) => book.names_mut().useless.push(problem),
                }
            }
        }
        Ok(book)
    }

    /// Puts a book aside that cannot be opened, and gives its new path. Whoever follows another book gets everything again.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn put_aside(path: &Path) -> std::io::Result<PathBuf> {
        let beside = path.with_extension("unusable");
        for ending in ["-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            match fs_err::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs_err::rename(path, &beside)?;
        Ok(beside)
    }

    /// Id of the book that this one is, or follows.
    #[must_use]
    pub fn incarnation(&self) -> String {
        lock(&self.place).incarnation.clone()
    }

    /// Its newest number.
    #[must_use]
    pub fn number(&self) -> u64 {
        lock(&self.place).number
    }

    /// Tells of every new number.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many certificates stand.
    #[must_use]
    pub fn certificates(&self) -> usize {
        self.names().len()
    }

    /// The tickets sealed under this book's keys.
    #[must_use]
    pub fn tickets(&self) -> Arc<Tickets> {
        self.tickets.clone()
    }

    /// The answer to a challenge of this token.
    #[must_use]
    pub fn answer(&self, token: &str) -> Option<String> {
        self.challenges.read().unwrap_or_else(PoisonError::into_inner).get(token).map(|challenge| challenge.answer.clone())
    }

    /// The newest challenge of a domain.
    #[must_use]
    pub fn challenge_of(&self, domain: &str) -> Option<Challenge> {
        let challenges = self.challenges.read().unwrap_or_else(PoisonError::into_inner);
        challenges.values().find(|challenge| challenge.domain == domain).cloned()
    }

    /// Name and end of the certificate that covers a host; the default one covers none.
    #[must_use]
    pub fn covering(&self, host: &str) -> Option<(Arc<str>, Timestamp)> {
        let mark = self.names().find(host, Timestamp::now().as_second())?;
        Some((mark.name.clone(), mark.until()))
    }

    /// What visitors of a host are to be told: its own policy, that of a wildcard above it, or that of everybody.
    #[must_use]
    pub fn policy(&self, host: &str) -> Https {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        let above = || policies.get(&host[host.find('.')?..]);
        policies.get(host).or_else(above).or_else(|| policies.get(EVERYBODY)).copied().unwrap_or_default()
    }

    /// Whether this very host, or wildcard, has a policy of its own.
    #[must_use]
    pub fn own_policy(&self, host: &str) -> Option<Https> {
        self.policies.read().unwrap_or_else(PoisonError::into_inner).get(policy_key(host)).copied()
    }

    /// Hosts and wildcards that have a policy of their own.
    #[must_use]
    pub fn policies(&self) -> Vec<String> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        policies.keys().map(|key| if key.starts_with('.') { format!("*{key}") } else { key.to_string() }).collect()
    }

    /// What visitors of a host are told: nothing unless a certificate covers it, so that nobody is sent where no handshake succeeds.
    #[must_use]
    pub fn https(&self, host: &str) -> Https {
        let policy = self.policy(host);
        if policy == Https::default() || self.names().find(host, Timestamp::now().as_second()).is_none() {
            return Https::default();
        }
        policy
    }

    /// What a handshake for this server name is answered with.
    #[must_use]
    pub fn choose(&self, host: Option<&str>) -> Choice {
        let Some(mark) = self.mark(host) else { return Choice::None };
        match lock(&self.parsed).get(&*mark.name) {
            Some((number, certified)) if *number == mark.number => Choice::Ready(certified.clone()),
            _ => Choice::OnDisk,
        }
    }

    /// As [`Book::choose`], reading what is not at hand. It may wait for the disk. One that turns out to be of no use is passed over from then on.
    #[must_use]
    pub fn load(&self, host: Option<&str>) -> Option<Arc<CertifiedKey>> {
        loop {
            let mark = self.mark(host)?;
            if let Some((number, certified)) = lock(&self.parsed).get(&*mark.name)
                && *number == mark.number
            {
                return Some(certified.clone());
            }
            match self.read(Kind::Certificate, &mark.name).and_then(|entry| parsed(&mark.name, entry)) {
                Ok(certified) => {
                    lock(&self.parsed).put(mark.name.clone(), (mark.number, certified.clone()));
                    return Some(certified);
                }
                Err(problem) => {
                    tracing::warn!(name = problem.name, reason = problem.reason, "a certificate is of no use and is passed over");
                    mark.spoil();
                    self.names_mut().useless.push(problem);
                }
            }
        }
    }

    /// Entries that are not as they should be.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.names().problems(Timestamp::now())
    }

    /// Names and ends of all certificates, ordered by name.
    #[must_use]
    pub fn ends(&self) -> Vec<(String, Timestamp)> {
        self.names().ends()
    }

    /// An entry as it stands, with its secrets.
    ///
    /// # Errors
    /// The problem with it.
    pub fn read(&self, kind: Kind, name: &str) -> Result<Option<Entry>, Problem> {
        let failed = |reason: String| Problem { name: name.to_owned(), reason };
        let raw = file::one(&lock(&self.reader), kind, name).map_err(|error| failed(error.to_string()))?;
        raw.map(|raw| self.open_entry(raw)).transpose()
    }

    /// Writes words under the next numbers. For the book that others follow.
    ///
    /// # Errors
    /// [`BookError::Refused`] for a certificate that cannot be used; nothing is written then.
    pub fn put(&self, words: Vec<(String, What)>) -> Result<u64, BookError> {
        for (name, what) in &words {
            check(name, what)?;
        }
        let mut place = lock(&self.place);
        let first = place.number + 1;
        let entries: Vec<Entry> = (first..).zip(words).map(|(number, (name, what))| Entry { number, name, what }).collect();
        let Some(last) = entries.last().map(|entry| entry.number) else { return Ok(place.number) };
        let floor = last.saturating_sub(REMEMBER_GONE);
        let raw = entries.iter().map(|entry| self.seal_entry(entry)).collect::<Vec<_>>();
        file::write(&mut lock(&self.writer), &raw, last, None, Some(floor))?;
        place.number = last;
        drop(place);
        entries.iter().for_each(|entry| self.note(entry));
        self.changed.send_replace(last);
        Ok(last)
    }

    /// At most so many entries after a number, in order. For the book that others follow. Entries of no use are left out.
    ///
    /// # Errors
    /// [`BookError::File`].
    pub fn after(&self, number: u64, most: usize) -> Result<(Vec<Entry>, u64), BookError> {
        let raw = file::after(&lock(&self.reader), number, most)?;
        let reached = raw.last().map_or(number, |raw| raw.number);
        Ok((raw.into_iter().filter_map(|raw| self.open_entry(raw).ok()).collect(), reached))
    }

    /// Whether a follower at this place needs no new beginning.
    #[must_use]
    pub fn continues(&self, incarnation: &str, number: u64) -> bool {
        let place = lock(&self.place);
        let floor = file::floor(&lock(&self.reader)).unwrap_or(u64::MAX);
        place.incarnation == incarnation && number <= place.number && (number >= floor || number == place.number)
    }

    /// Takes lines of another book's feed, all or none. For a book that follows.
    ///
    /// # Errors
    /// [`BookError::File`]: nothing was taken.
    pub fn take(&self, lines: Vec<Line>) -> Result<Vec<Told>, BookError> {
        let mut told = Vec::with_capacity(lines.len());
        let mut entries: Vec<Entry> = Vec::new();
        for line in lines {
            match line {
                Line::Entry(entry) => {
                    let refused = check(&entry.name, &entry.what).err();
                    told.push(refused.map_or(Told::Taken, |error| Told::Useless(Problem { name: entry.name.clone(), reason: error.to_string() })));
                    entries.push(*entry);
                }
                Line::Begin { incarnation } => {
                    self.take_entries(std::mem::take(&mut entries))?;
                    lock(&self.place).anew = Some((incarnation, HashSet::new()));
                    told.push(Told::Taken);
                }
                Line::Alive { number } => {
                    self.take_entries(std::mem::take(&mut entries))?;
                    told.push(self.take_alive(number)?);
                }
            }
        }
        self.take_entries(entries)?;
        Ok(told)
    }

    fn take_entries(&self, entries: Vec<Entry>) -> Result<(), BookError> {
        let Some(last) = entries.last().map(|entry| entry.number) else { return Ok(()) };
        let raw: Vec<_> = entries.iter().map(|entry| self.seal_entry(entry)).collect();
        let mut place = lock(&self.place);
        // While everything is told anew the place on disk stays what it was: interrupted, it begins anew again.
        let number = if let Some((_, seen)) = &mut place.anew {
            seen.extend(entries.iter().map(|entry| (entry.what.kind(), entry.name.clone())));
            place.number
        } else {
            place.number = place.number.max(last);
            place.number
        };
        file::write(&mut lock(&self.writer), &raw, number, None, None)?;
        drop(place);
        entries.iter().for_each(|entry| self.note(entry));
        self.changed.send_replace(number);
        Ok(())
    }

    fn take_alive(&self, number: u64) -> Result<Told, BookError> {
        let mut place = lock(&self.place);
        let Some((incarnation, seen)) = place.anew.take() else {
            let together = place.number <= number;
            if together && place.number < number {
                // Numbers of entries that are of no use to the sender itself.
                place.number = number;
                drop(place);
                self.changed.send_replace(number);
            }
            return Ok(if together { Told::Taken } else { Told::Apart });
        };
        let all = file::keys(&lock(&self.reader))?;
        let gone: Vec<Entry> =
            all.into_iter().filter(|key| !seen.contains(key)).map(|(kind, name)| Entry { number: 0, name, what: What::Gone(kind) }).collect();
        let raw: Vec<_> = gone.iter().map(|entry| self.seal_entry(entry)).collect();
        file::write(&mut lock(&self.writer), &raw, number, Some(&incarnation), Some(u64::MAX))?;
        (place.incarnation, place.number) = (incarnation, number);
        drop(place);
        gone.iter().for_each(|entry| self.note(entry));
        self.changed.send_replace(number);
        Ok(Told::Taken)
    }

    /// Where to ask a feed for what follows; none: for everything.
    #[must_use]
    pub fn place(&self) -> Option<(String, u64)> {
        let mut place = lock(&self.place);
        // A beginning that was interrupted begins again.
        place.anew = None;
        (place.number > 0).then(|| (place.incarnation.clone(), place.number))
    }

    /// A note that no follower gets, kept sealed: an account, an attempt.
    ///
    /// # Errors
    /// [`BookError::File`]; a note that cannot be opened is none.
    pub fn memo(&self, topic: &str, name: &str) -> Result<Option<Sensitive<String>>, BookError> {
        let sealed = file::memo(&lock(&self.reader), topic, name)?;
        Ok(sealed.and_then(|sealed| self.sealer.open(&memo_name(topic, name), &sealed).ok()))
    }

    /// All notes of a topic.
    ///
    /// # Errors
    /// [`BookError::File`]; notes that cannot be opened are left out.
    pub fn memos(&self, topic: &str) -> Result<Vec<(String, Sensitive<String>)>, BookError> {
        let all = file::memos(&lock(&self.reader), topic)?;
        Ok(all.into_iter().filter_map(|(name, sealed)| self.sealer.open(&memo_name(topic, &name), &sealed).ok().map(|text| (name, text))).collect())
    }

    /// Keeps a note, or removes it.
    ///
    /// # Errors
    /// [`BookError::File`].
    pub fn note_memo(&self, topic: &str, name: &str, text: Option<&Sensitive<String>>) -> Result<(), BookError> {
        let sealed = text.map(|text| self.sealer.seal(&memo_name(topic, name), text));
        Ok(file::set_memo(&lock(&self.writer), topic, name, sealed.as_deref())?)
    }

    fn mark(&self, host: Option<&str>) -> Option<Arc<Mark>> {
        let names = self.names();
        let now = Timestamp::now().as_second();
        host.and_then(|host| names.find(host, now)).or_else(|| names.of(DEFAULT))
    }

    fn note(&self, entry: &Entry) {
        match &entry.what {
            What::Certificate(certificate) => {
                let mark = Mark::new(&entry.name, entry.number, &certificate.names, certificate.not_after);
                self.names_mut().add(mark);
            }
            What::Gone(Kind::Certificate) => self.names_mut().remove(&entry.name),
            _ => self.note_small(entry),
        }
    }

    /// What is kept in memory as a whole.
    fn note_small(&self, entry: &Entry) {
        let challenges = || self.challenges.write().unwrap_or_else(PoisonError::into_inner);
        match &entry.what {
            What::Challenge(challenge) => {
                challenges().insert(entry.name.clone(), challenge.clone());
            }
            What::Gone(Kind::Challenge) => {
                challenges().remove(&entry.name);
            }
            What::Tickets(keys) => self.tickets.set(keys),
            What::Gone(Kind::Tickets) => self.tickets.set(&crate::TicketKeys::default()),
            What::Policy(policy) => {
                self.policies.write().unwrap_or_else(PoisonError::into_inner).insert(policy_key(&entry.name).into(), *policy);
            }
            What::Gone(Kind::Policy) => {
                self.policies.write().unwrap_or_else(PoisonError::into_inner).remove(policy_key(&entry.name));
            }
            What::Certificate(_) | What::Gone(Kind::Certificate) => {}
        }
    }

    fn names(&self) -> std::sync::RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn names_mut(&self) -> std::sync::RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal_entry(&self, entry: &Entry) -> file::Raw {
        let seal = |secret: &Sensitive<String>| Some(self.sealer.seal(&sealed_name(entry.what.kind(), &entry.name), secret));
        let (mark, plain, sealed) = match &entry.what {
            What::Certificate(certificate) => {
                let mark = file::MarkText::of(certificate);
                let open = Certificate { key: Sensitive::new(String::new()), ..(**certificate).clone() };
                (json(&mark), json(&open), seal(&certificate.key))
            }
            What::Challenge(challenge) => (Some(String::new()), json(challenge), None),
            What::Policy(policy) => (Some(String::new()), json(policy), None),
            What::Tickets(keys) => (Some(String::new()), None, json(keys).and_then(|text| seal(&Sensitive::new(text)))),
            What::Gone(_) => (None, None, None),
        };
        file::Raw { kind: entry.what.kind(), name: entry.name.clone(), number: entry.number, mark, plain, sealed }
    }

    fn open_entry(&self, raw: file::Raw) -> Result<Entry, Problem> {
        let failed = |reason: String| Problem { name: raw.name.clone(), reason };
        let damaged = |error: serde_json::Error| failed(format!("its entry is damaged: {error}"));
        let secret = || {
            let sealed = raw.sealed.as_deref().ok_or_else(|| failed("its entry has no sealed part".to_owned()))?;
            self.sealer.open(&sealed_name(raw.kind, &raw.name), sealed).map_err(|error| failed(error.to_string()))
        };
        let plain = raw.plain.as_deref().unwrap_or_default();
        let what = match raw.kind {
            kind if raw.mark.is_none() => What::Gone(kind),
            Kind::Certificate => {
                let mut certificate: Certificate = serde_json::from_str(plain).map_err(damaged)?;
                certificate.key = secret()?;
                What::Certificate(Box::new(certificate))
            }
            Kind::Challenge => What::Challenge(serde_json::from_str(plain).map_err(damaged)?),
            Kind::Policy => What::Policy(serde_json::from_str(plain).map_err(damaged)?),
            Kind::Tickets => What::Tickets(serde_json::from_str(secret()?.reveal()).map_err(damaged)?),
        };
        Ok(Entry { number: raw.number, name: raw.name.clone(), what })
    }
}

/// A word that is of no use is not written by the book that others follow.
fn check(name: &str, what: &What) -> Result<(), BookError> {
    let What::Certificate(certificate) = what else { return Ok(()) };
    match Pair::read(&certificate.chain, certificate.key.reveal()) {
        Ok(_) => Ok(()),
        Err(error) => Err(BookError::Refused { kind: Kind::Certificate, name: name.to_owned(), reason: error.to_string() }),
    }
}

fn parsed(name: &str, entry: Option<Entry>) -> Result<Arc<CertifiedKey>, Problem> {
    let problem = |reason: String| Problem { name: name.to_owned(), reason };
    match entry.map(|entry| entry.what) {
        Some(What::Certificate(certificate)) => {
            Pair::read(&certificate.chain, certificate.key.reveal()).map(|pair| pair.certified).map_err(|error| problem(error.to_string()))
        }
        _ => Err(problem("its entry is gone from the file".to_owned())),
    }
}

/// By which the policy of a host is found: a wildcard's without its star, which is how the end of a host looks.
fn policy_key(host: &str) -> &str {
    host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host)
}

/// What a sealed part is bound to.
fn sealed_name(kind: Kind, name: &str) -> String {
    format!("{}/{name}", kind.as_str())
}

fn memo_name(topic: &str, name: &str) -> String {
    format!("memo/{topic}/{name}")
}

fn json<T: serde::Serialize>(value: &T) -> Option<String> {
    // JSON of these types cannot fail; an entry without it would be told as damaged.
    serde_json::to_string(value).ok()
}

/// No code that holds one of these locks can leave its content half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
