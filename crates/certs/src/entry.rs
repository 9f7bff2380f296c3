//! What stands in a book, as it is kept and as it travels from control to edges: numbered entries, one line of JSON each.

use jiff::Timestamp;
use model::Sensitive;
use serde::{Deserialize, Serialize};

/// The kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A certificate with its key.
    Certificate,
    /// An answer to a certificate authority that asks whether a domain is ours.
    Challenge,
    /// The keys of session tickets.
    Tickets,
    /// What visitors of a host are told about HTTPS.
    Policy,
}

impl Kind {
    /// Its name in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Challenge => "challenge",
            Self::Tickets => "tickets",
            Self::Policy => "policy",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Certificate, Self::Challenge, Self::Tickets, Self::Policy].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One entry: the newest word about its kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Rises with each change of a book.
    pub number: u64,
    /// Whose word: a certificate's name, a challenge's token, a host.
    pub name: String,
    /// The word.
    pub what: What,
}

/// The word of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It stands.
    Certificate(Box<Certificate>),
    /// It is asked for now.
    Challenge(Challenge),
    /// They are in use.
    Tickets(TicketKeys),
    /// They are told this.
    Policy(Https),
    /// There is none any more.
    Gone(Kind),
}

impl What {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Certificate(_) => Kind::Certificate,
            Self::Challenge(_) => Kind::Challenge,
            Self::Tickets(_) => Kind::Tickets,
            Self::Policy(_) => Kind::Policy,
            Self::Gone(kind) => *kind,
        }
    }
}

/// A certificate with its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Names it is good for; a wildcard is `*.shop.example`.
    pub names: Vec<String>,
    /// From when it is good.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// The certificate and those above it.
    pub chain: String,
    /// Its private key.
    pub key: Sensitive<String>,
}

/// What visitors of a host are told about HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Https {
    /// Those who come by HTTP are sent to HTTPS.
    pub redirect: bool,
    /// Seconds for which browsers shall use nothing but HTTPS; 0: they are not told.
    pub hsts: u32,
}

/// What a certificate authority wants to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// The domain that it asks.
    pub domain: String,
    /// What is answered: the key authorization.
    pub answer: String,
}

/// Keys of session tickets. The first whose time has come, counted from the last, seals; all open.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TicketKeys(pub Vec<TicketKey>);

/// One key of session tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketKey {
    /// 32 octets in base64url; their first octets of the hash name the key.
    pub key: Sensitive<String>,
    /// From when it seals. Edges know it earlier, so that none meets a ticket that it cannot open.
    pub from: Timestamp,
}

/// One line of the feed of certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// Everything follows; what was known and does not come again until the next [`Line::Alive`] is gone.
    Begin {
        /// The book's.
        incarnation: String,
    },
    /// The next entry.
    Entry(Box<Entry>),
    /// Everything up to this number has been told.
    Alive {
        /// The book's newest number.
        number: u64,
    },
}

impl Line {
    /// The line as it is sent, with its line feed.
    ///
    /// # Errors
    /// None that is known; JSON of these types cannot fail.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a line, with or without its line feed.
    ///
    /// # Errors
    /// What the JSON breaks.
    pub fn decode(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}
