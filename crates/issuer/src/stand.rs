//! How domains stand with their certificates, for whoever tells people: plain facts, from memory.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{Attempt, Cause};

/// Most characters of a problem that are told.
const MOST: usize = 240;
/// Where the part of a URL begins that is another one at each try.
const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// How one domain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// When the certificate that its visitors are shown ends, or has ended; nothing where there is none.
    pub ends: Option<Timestamp>,
    /// Whether an authority is asked for one, now or when the time comes.
    pub asked: bool,
    /// What the last try found wrong; nothing where it went well, or nobody tried yet.
    pub problem: Option<(Cause, Arc<str>)>,
}

/// Problems by domain, as they were noted when everything was last looked at. Domains without one take no room.
#[derive(Debug, Default)]
pub(crate) struct Stands(HashMap<Box<str>, (Cause, Arc<str>)>);

impl Stands {
    pub(crate) fn of(attempts: &HashMap<String, Attempt>) -> Self {
        let problem = |(domain, attempt): (&String, &Attempt)| {
            let text = attempt.problem.as_ref()?;
            Some((domain.as_str().into(), (attempt.cause, steady(text).into())))
        };
        Self(attempts.iter().filter_map(problem).collect())
    }

    pub(crate) fn problem(&self, domain: &str) -> Option<&(Cause, Arc<str>)> {
        self.0.get(domain)
    }
}

/// How a domain stands, by the certificate that covers it, whether an authority is asked for it, and what was noted.
pub(crate) fn stand(domain: &str, covering: Option<(Arc<str>, Timestamp)>, asks: bool, problem: Option<&(Cause, Arc<str>)>, now: Timestamp) -> Stand {
    // While somebody else's covers it, nobody is asked, and what was found before does not matter.
    let others = covering.as_ref().is_some_and(|(name, until)| **name != *domain && *until > now);
    let asked = asks && !others;
    Stand { ends: covering.map(|(_, until)| until), asked, problem: problem.filter(|_| asked).cloned() }
}

/// The same words for the same trouble: without what is thrown anew at each try, and bounded.
fn steady(text: &str) -> String {
    let words = text.split_whitespace().map(|word| word.split_once(CHALLENGE).map_or(word, |(before, _)| before));
    let text = words.collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_at_each_try_and_bounded() {
        let said = |token: &str| format!("a.org: Invalid response from http://a.org{CHALLENGE}{token}: 404 \n");
        assert_eq!(steady(&said("x1")), steady(&said("y2")));
        assert_eq!(steady(&said("x1")), "a.org: Invalid response from http://a.org 404");
        assert_eq!(steady(&"\u{e4}".repeat(1000)).chars().count(), MOST + 3);
    }

    #[test]
    fn what_somebody_elses_certificate_covers_has_no_problem() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let problem = (Cause::Elsewhere, Arc::from("p"));
        let covered = |name: &str, until| Some((Arc::from(name), at(until)));
        let stand = |covering, asks| stand("a.org", covering, asks, Some(&problem), at(100));
        for (covering, asks, asked) in [
            (None, true, true),
            (None, false, false),
            (covered("a.org", 200), true, true),
            (covered("own.pem", 200), true, false),
            (covered("own.pem", 99), true, true),
        ] {
            let stand = stand(covering.clone(), asks);
            assert_eq!((stand.asked, stand.problem.is_some()), (asked, asked), "{covering:?} {asks}");
            assert_eq!(stand.ends, covering.map(|(_, until)| until));
        }
    }

    #[test]
    fn notes_of_earlier_releases_are_read() {
        let old: Attempt = serde_json::from_str(r#"{"failures":2,"problem":"p"}"#).unwrap_or_default();
        assert_eq!((old.failures, old.cause), (2, Cause::Unsaid));
    }
}
