//! The issuer at work: looks at what is wished for and what stands, and has orders under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use certs::acme::{Account, AcmeError, Authority, Fault, Obtained, Proof};
use certs::{Book, BookError, EVERYBODY, Https, Kind, Pair, What};
use jiff::{SignedDuration, Timestamp};
use model::Sensitive;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answers::OnEdges;
use crate::decide::{Authorities, Limits, is_public, pause, renew_at};
use crate::probe::{Pointing, Probe};
use crate::stand::{Stands, stand};
use crate::{Attempt, Cause, CertificateFeed, Stand, folder, tickets};

/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Orders under way at once.
const TOGETHER: usize = 4;
/// A domain that does not point here is looked at again sooner than one that an authority refused: nobody counts that.
const POINT_PAUSE: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_POINT_PAUSE: SignedDuration = SignedDuration::from_mins(30);
/// When an authority is asked about renewal again, where it does not say or does not answer.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(6);
/// Topic of accounts in the book.
const ACCOUNT: &str = "account";

/// What is wished for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The domain.
    pub domain: String,
    /// Whether its tenant is active: only then a certificate is obtained or renewed. Otherwise the one that stands stays.
    pub active: bool,
    /// What its visitors are told; the policy for everybody where left out.
    pub https: Option<Https>,
}

/// Who knows what is wished for.
#[async_trait]
pub trait Wishes: Send + Sync {
    /// Every domain, and the policy for everybody.
    ///
    /// # Errors
    /// Why it is not known now; nothing is changed then.
    async fn wishes(&self) -> Result<(Vec<Wish>, Https), String>;

    /// Whether this process may work: its control holds the lease.
    fn active(&self) -> bool;
}

/// What an issuer is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whom to ask, the preferred first; nobody: only the folder's certificates are used.
    pub authorities: Vec<Authority>,
    /// How much each is asked.
    pub limits: Limits,
    /// How domains are proved, tried in turn.
    pub proofs: Vec<Proof>,
    /// How domains are looked at before.
    pub probe: Probe,
    /// Also names that no public authority vouches for; for an authority of one's own.
    pub private_names: bool,
    /// Where people lay certificates.
    pub folder: PathBuf,
    /// Names of a certificate that nobody signed, shown where there is no other; none is made where empty.
    pub self_signed: Vec<String>,
}

/// Obtains and renews.
pub struct Issuer {
    options: Options,
    book: Arc<Book>,
    answers: OnEdges,
    wishes: Arc<dyn Wishes>,
    authorities: Mutex<Authorities>,
    accounts: tokio::sync::Mutex<HashMap<usize, Arc<Account>>>,
    said: Mutex<BTreeMap<String, String>>,
    stands: Mutex<Option<Arc<Stands>>>,
}

/// What is done for one domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Obtain,
    Renew,
    AskWindow,
}

impl Issuer {
    /// An issuer over this book.
    #[must_use]
    pub fn new(options: Options, book: Arc<Book>, feed: Arc<CertificateFeed>, wishes: Arc<dyn Wishes>) -> Arc<Self> {
        let authorities = Mutex::new(Authorities::new(options.authorities.len(), options.limits));
        let answers = OnEdges { book: book.clone(), feed };
        let (accounts, said, stands) = Default::default();
        Arc::new(Self { options, book, answers, wishes, authorities, accounts, said, stands })
    }

    /// Works until the stop. Orders under way are given up then; authorities forget them.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut orders: JoinSet<String> = JoinSet::new();
        let mut busy: BTreeSet<String> = BTreeSet::new();
        loop {
            if self.wishes.active() {
                match self.look(&busy).await {
                    Ok(due) => {
                        self.say("book", None);
                        for (domain, step) in due.into_iter().take(TOGETHER.saturating_sub(busy.len())) {
                            busy.insert(domain.clone());
                            let issuer = self.clone();
                            orders.spawn(async move {
                                issuer.serve(&domain, step).await;
                                domain
                            });
                        }
                    }
                    Err(problem) => self.say("book", Some(problem)),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ended) = orders.join_next() => match ended {
                    Ok(domain) => { busy.remove(&domain); }
                    // One that panicked: all are looked at anew.
                    Err(_) => busy.clear(),
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Brings everything but orders in line, and gives what is due, the most urgent first.
    async fn look(self: &Arc<Self>, busy: &BTreeSet<String>) -> Result<Vec<(String, Step)>, String> {
        let (wishes, everybody) = self.wishes.wishes().await?;
        let (issuer, busy) = (self.clone(), busy.clone());
        let looked = tokio::task::spawn_blocking(move || issuer.settle(&wishes, everybody, &busy)).await;
        looked.map_err(|error| error.to_string())?.map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }

    fn settle(&self, wishes: &[Wish], everybody: Https, busy: &BTreeSet<String>) -> Result<Vec<(String, Step)>, BookError> {
        let now = Timestamp::now();
        tickets::rotate(&self.book, now)?;
        let problems = folder::take(&self.book, &self.options.folder)?;
        for (name, problem) in &problems {
            self.say(&format!("{name}.pem"), Some(problem.clone()));
        }
        for file in self.problems().into_keys().filter(|about| about.strip_suffix(".pem").is_some_and(|name| !problems.contains_key(name))) {
            self.say(&file, None);
        }
        self.ensure_self_signed(now)?;
        self.ensure_policies(wishes, everybody)?;
        let attempts: HashMap<String, Attempt> = Attempt::all(&self.book)?.into_iter().collect();
        let wished: BTreeSet<&str> = wishes.iter().map(|wish| wish.domain.as_str()).collect();
        for domain in attempts.keys().filter(|domain| !wished.contains(domain.as_str()) && !busy.contains(*domain)) {
            if self.book.covering(domain).is_some_and(|(name, _)| *name == **domain) {
                self.book.put(vec![(domain.clone(), What::Gone(Kind::Certificate))])?;
                tracing::info!(domain, "a certificate is gone with its domain");
            }
            Attempt::forget(&self.book, domain)?;
            self.say(domain, None);
        }
        *self.stands.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Stands::of(&attempts)));
        if self.options.authorities.is_empty() {
            return Ok(Vec::new());
        }
        let mut due = Vec::new();
        for wish in wishes.iter().filter(|wish| wish.active && !busy.contains(&wish.domain)) {
            if !self.asks_for(&wish.domain) {
                continue;
            }
            let attempt = attempts.get(&wish.domain);
            if let Some((urgency, step)) = self.due(&wish.domain, attempt, now) {
                due.push((urgency, wish.domain.clone(), step));
            }
        }
        due.sort();
        Ok(due.into_iter().map(|(_, domain, step)| (domain, step)).collect())
    }

    /// What is due for a domain, and how urgent that is: the end of what stands.
    fn due(&self, domain: &str, attempt: Option<&Attempt>, now: Timestamp) -> Option<(Timestamp, Step)> {
        let covering = self.book.covering(domain);
        let paused = attempt.and_then(|attempt| attempt.not_before).is_some_and(|at| at > now);
        match covering {
            // Somebody else's certificate covers it, and that somebody sees to it.
            Some((name, until)) if *name != *domain && until > now => None,
            Some((name, until)) if *name == *domain => {
                let attempt = attempt.cloned().unwrap_or_default();
                if attempt.renew_at.is_some_and(|at| at <= now) && !paused {
                    return Some((until, Step::Renew));
                }
                let ask = attempt.renew_at.is_none() || attempt.ask_again.is_some_and(|at| at <= now);
                (ask && !paused).then_some((until, Step::AskWindow))
            }
            _ => (!paused).then_some((now, Step::Obtain)),
        }
    }

    fn ensure_self_signed(&self, now: Timestamp) -> Result<(), BookError> {
        if self.options.self_signed.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.options.self_signed.iter().map(String::as_str).collect();
        let stands = self.book.read(Kind::Certificate, certs::DEFAULT).ok().flatten();
        // One from the folder, or one of ours that is good for some weeks yet, stays.
        let good = stands.is_some_and(|entry| match entry.what {
            What::Certificate(certificate) => certificate.not_after > now.saturating_add(SignedDuration::from_hours(30 * 24)).unwrap_or(now),
            _ => false,
        });
        if good {
            return Ok(());
        }
        let refused = |reason: String| BookError::Refused { kind: Kind::Certificate, name: certs::DEFAULT.to_owned(), reason };
        let (chain, key) = certs::self_signed(&names, now).map_err(|error| refused(error.to_string()))?;
        let pair = Pair::read(&chain, key.reveal()).map_err(|error| refused(error.to_string()))?;
        self.book.put(vec![(certs::DEFAULT.to_owned(), What::Certificate(Box::new(pair.certificate(chain, key))))]).map(|_| ())
    }

    fn ensure_policies(&self, wishes: &[Wish], everybody: Https) -> Result<(), BookError> {
        let mut words = Vec::new();
        let mut own: BTreeMap<&str, Https> = wishes.iter().filter_map(|wish| Some((wish.domain.as_str(), wish.https?))).collect();
        own.insert(EVERYBODY, everybody);
        for (&host, &policy) in own.iter().filter(|(host, policy)| self.book.own_policy(host) != Some(**policy)) {
            words.push((host.to_owned(), What::Policy(policy)));
        }
        for host in self.book.policies().into_iter().filter(|host| !own.contains_key(host.as_str())) {
            words.push((host, What::Gone(Kind::Policy)));
        }
        self.book.put(words).map(|_| ())
    }

    /// One step for one domain, noted whatever comes of it.
    async fn serve(&self, domain: &str, step: Step) {
        let mut attempt = self.attempt(domain);
        let now = Timestamp::now();
        let noted = match step {
            Step::AskWindow => self.ask_window(domain, attempt, now).await,
            Step::Obtain | Step::Renew => {
                let pointing = match step {
                    // A renewed one points here as it did; its authority will say when not.
                    Step::Obtain => self.options.probe.look(domain, &self.answers).await,
                    _ => Pointing::Here,
                };
                match pointing {
                    Pointing::Elsewhere(why) => {
                        let doubled = POINT_PAUSE.saturating_mul(1 << attempt.failures.min(8)).min(LONGEST_POINT_PAUSE);
                        self.say(domain, Some(format!("no certificate is asked for yet: {why}")));
                        attempt.failed(Cause::Elsewhere, why, now, doubled)
                    }
                    Pointing::Here => match self.obtain(domain, step, attempt.failures).await {
                        Ok(authority) => {
                            self.say(domain, None);
                            tracing::info!(domain, authority, renewed = step == Step::Renew, "a certificate was obtained");
                            attempt = Attempt { authority: Some(authority), ..Attempt::default() };
                            attempt
                        }
                        Err(None) => {
                            let fault = self.authorities().why_none(now);
                            attempt.waits(fault, now, SignedDuration::from_mins(1))
                        }
                        Err(Some(error)) => {
                            self.say(domain, Some(error.message.clone()));
                            let pause = match error.fault {
                                // The next authority may be asked at once.
                                Fault::Authority | Fault::Limited => SignedDuration::from_secs(5),
                                Fault::Domain | Fault::Forbidden | Fault::Ours => pause(attempt.failures + 1, rand::random()),
                            };
                            attempt.failed(error.fault.into(), error.message, now, pause)
                        }
                    },
                }
            }
        };
        if let Err(error) = noted.keep(&self.book, domain) {
            tracing::error!(domain, %error, "an attempt could not be noted");
        }
    }

    fn attempt(&self, domain: &str) -> Attempt {
        let note = self.book.memo("attempt", domain).ok().flatten();
        note.and_then(|text| serde_json::from_str(text.reveal()).ok()).unwrap_or_default()
    }

    /// Asks the authority of a certificate when it wants it renewed.
    async fn ask_window(&self, domain: &str, attempt: Attempt, now: Timestamp) -> Attempt {
        let Some((chain, from, until)) = self.standing(domain) else { return attempt };
        let which = self.options.authorities.iter().position(|authority| Some(&authority.name) == attempt.authority.as_ref()).unwrap_or(0);
        let window = match self.account(which).await {
            Ok(account) => account.window(&chain).await,
            Err(error) => Err(error),
        };
        let window = window.unwrap_or_else(|error| {
            tracing::info!(domain, %error, "the authority does not say when it wants a certificate renewed");
            None
        });
        let ask_again = now.saturating_add(ASK_AGAIN).unwrap_or(Timestamp::MAX);
        // A time that was thrown and still lies in the window stays.
        let at = match (attempt.renew_at, window) {
            (Some(at), Some(window)) if window.start <= at && at <= window.end => at,
            (Some(at), None) => at,
            _ => renew_at(from, until, window, rand::random()),
        };
        attempt.told(window, at, ask_again)
    }

    /// Chain, beginning and end of a certificate that stands.
    fn standing(&self, domain: &str) -> Option<(String, Timestamp, Timestamp)> {
        match self.book.read(Kind::Certificate, domain).ok().flatten()?.what {
            What::Certificate(certificate) => Some((certificate.chain, certificate.not_before, certificate.not_after)),
            _ => None,
        }
    }

    /// An order with the first authority that may be asked; its name. `Err(None)`: none may be.
    async fn obtain(&self, domain: &str, step: Step, failures: u32) -> Result<String, Option<AcmeError>> {
        let replaces = self.standing(domain).filter(|_| step == Step::Renew).map(|(chain, ..)| chain);
        let which = self.authorities().choose(Timestamp::now(), replaces.is_some()).ok_or(None)?;
        let proof = self.options.proofs.get(failures as usize % self.options.proofs.len().max(1)).copied().unwrap_or(Proof::Http);
        let obtained = match self.account(which).await {
            Ok(account) => account.obtain(domain, replaces.as_deref(), proof, &self.answers).await,
            Err(error) => Err(error),
        };
        let obtained = match obtained {
            Ok(obtained) => self.keep(domain, obtained).await,
            Err(error) => Err(error),
        };
        self.authorities().ended(which, obtained.as_ref().err().map(|error| error.fault), Timestamp::now(), rand::random());
        let name = self.options.authorities.get(which).map(|authority| authority.name.clone()).unwrap_or_default();
        obtained.map(|()| name.clone()).map_err(|error| Some(AcmeError { message: format!("{name}: {}", error.message), ..error }))
    }

    async fn keep(&self, domain: &str, obtained: Obtained) -> Result<(), AcmeError> {
        let wrong = |fault, message: String| AcmeError { fault, message };
        let pair = Pair::read(&obtained.chain, obtained.key.reveal()).map_err(|error| wrong(Fault::Authority, error.to_string()))?;
        if !pair.names.iter().any(|name| name == domain) {
            return Err(wrong(Fault::Authority, format!("its certificate is for {} instead", pair.names.join(", "))));
        }
        let (book, name) = (self.book.clone(), domain.to_owned());
        let certificate = pair.certificate(obtained.chain, obtained.key);
        let put = tokio::task::spawn_blocking(move || book.put(vec![(name, What::Certificate(Box::new(certificate)))])).await;
        put.map_err(|error| wrong(Fault::Ours, error.to_string()))?.map_err(|error| wrong(Fault::Ours, error.to_string()))?;
        Ok(())
    }

    /// Our account with an authority, made at the first need and kept in the book.
    async fn account(&self, which: usize) -> Result<Arc<Account>, AcmeError> {
        let mut accounts = self.accounts.lock().await;
        if let Some(account) = accounts.get(&which) {
            return Ok(account.clone());
        }
        let ours = |error: BookError| AcmeError { fault: Fault::Ours, message: error.to_string() };
        let authority = self.options.authorities.get(which).ok_or_else(|| AcmeError { fault: Fault::Ours, message: "no authority".to_owned() })?;
        let known: Option<Sensitive<String>> = self.book.memo(ACCOUNT, &authority.directory).map_err(ours)?;
        let (account, made) = Account::open(authority, known.as_ref()).await?;
        if let Some(made) = made {
            self.book.note_memo(ACCOUNT, &authority.directory, Some(&made)).map_err(ours)?;
            tracing::info!(authority = authority.name, "an account was made");
        }
        let account = Arc::new(account);
        accounts.insert(which, account.clone());
        Ok(account)
    }

    fn authorities(&self) -> std::sync::MutexGuard<'_, Authorities> {
        self.authorities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says a problem once, and that it is over. `about`: a domain, a file.
    fn say(&self, about: &str, problem: Option<String>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) if said.get(about) != Some(&problem) => {
                tracing::warn!(about, problem, "certificates");
                said.insert(about.to_owned(), problem);
            }
            Some(_) => {}
            None => {
                said.remove(about);
            }
        }
    }

    /// Whether an authority is asked for a domain.
    fn asks_for(&self, domain: &str) -> bool {
        !self.options.authorities.is_empty() && (self.options.private_names || is_public(domain))
    }

    /// How a domain of an active tenant stands with its certificate; nothing before the first look.
    #[must_use]
    pub fn stand(&self, domain: &str) -> Option<Stand> {
        let stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let covering = self.book.covering(domain);
        Some(stand(domain, covering, self.asks_for(domain), stands.problem(domain), Timestamp::now()))
    }

    /// What is wrong now, by domain or file.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<String, String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
