//! Answers of our own: each names why, in a header for programs and in a sentence for people.

/// Name of the header that carries a [`Reason`].
pub const REASON_HEADER: &str = "Atoll-Reason";

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $status:literal $text:literal;)*) => {
        /// Why a request was not served as asked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its code, as it stands in the header, the log and the metrics.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// A sentence for the visitor.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// A head that is not HTTP/1.1.
    MalformedHead 400 "The request could not be read.";
    /// Two readers could disagree where the message ends.
    AmbiguousLength 400 "The request's length is ambiguous.";
    /// Chunks that do not follow the rules.
    MalformedBody 400 "The request's body could not be read.";
    /// No Host, two of them, or one that is none.
    BadHost 400 "The request names no valid host.";
    /// More fields or octets than are read.
    HeadTooLarge 431 "The request's head is too large.";
    /// CONNECT and TRACE.
    MethodRefused 405 "This method is not served.";
    /// Neither 1.0 nor 1.1.
    VersionRefused 505 "This version of HTTP is not served.";
    /// Something other than 100-continue.
    ExpectationRefused 417 "This expectation cannot be met.";
    /// The head did not arrive in time.
    HeadTimeout 408 "The request did not arrive in time.";
    /// The body stopped arriving.
    BodyTimeout 408 "The request's body did not arrive in time.";
    /// More at once than is served.
    Overloaded 503 "Too many requests at once; try again in a moment.";
    /// The tenant takes more than its plan allows.
    TenantLimited 429 "This site is asked for too often; try again in a moment.";
    /// The visitor asks for more than one address may.
    ClientLimited 429 "Too many requests from this address; try again in a moment.";
    /// No tenant has this host.
    UnknownHost 404 "No site is served under this name.";
    /// The tenant is suspended.
    TenantSuspended 503 "This site is suspended.";
    /// The tenant takes no writes now.
    TenantReadOnly 503 "This site takes no changes right now; try again in a moment.";
    /// The tenant's requests waited longer than they may.
    TenantHeld 503 "This site is being moved; try again in a moment.";
    /// Gate and edge do not agree yet who owns the tenant.
    TenantMoving 503 "This site is being moved; try again in a moment.";
    /// The gate does not believe the edge.
    Misdirected 421 "This request went the wrong way.";
    /// The gate refuses what the edge is sure of.
    GateRefused 502 "This site cannot be reached.";
    /// No routes were ever loaded.
    NoRoutes 503 "No routes are known yet; try again in a moment.";
    /// Nobody who could answer is ready.
    NoReadyInstance 503 "This site is not ready; try again in a moment.";
    /// Everybody who could answer refused the connection.
    UpstreamUnreachable 503 "This site cannot be reached; try again in a moment.";
    /// The connection ended before the answer came.
    UpstreamClosed 502 "The site gave no answer.";
    /// The answer is not HTTP/1.1.
    UpstreamMalformed 502 "The site's answer could not be read.";
    /// The answer did not come in time.
    UpstreamTimeout 504 "The site did not answer in time.";
    /// The visitor left first; nobody sees this page.
    ClientClosed 499 "The visitor left.";
}

impl Reason {
    /// After how many seconds it makes sense to try again.
    #[must_use]
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::TenantSuspended => None,
            _ if self.status() == 429 => Some(1),
            _ if self.status() == 503 => Some(2),
            _ => None,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// An answer that is given without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Why, where it is a refusal.
    pub reason: Option<Reason>,
    /// More fields.
    pub fields: Vec<(&'static str, String)>,
    /// Its content type.
    pub content_type: &'static str,
    /// Its body.
    pub body: String,
    /// Whether log and counters leave it out: answers to probes, which come by the thousand.
    pub quiet: bool,
}

impl Page {
    /// The page of a reason.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        let (code, text) = (reason.code(), reason.text());
        let body = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{text}</title>\n\
             <style>body{{font:1rem/1.5 system-ui,sans-serif;margin:20vh auto;max-width:34rem;padding:0 1rem}}small{{color:#666}}</style>\n\
             <h1>{text}</h1>\n<p><small>{} {code}</small></p></html>\n",
            reason.status()
        );
        let fields = reason.retry_after().map(|seconds| ("Retry-After", seconds.to_string())).into_iter().collect();
        Self { status: reason.status(), reason: Some(reason), fields, content_type: "text/html; charset=utf-8", body, quiet: false }
    }

    /// A short text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, reason: None, fields: Vec::new(), content_type: "text/plain; charset=utf-8", body: body.into(), quiet: false }
    }

    /// The same with another time after which to try again.
    #[must_use]
    pub fn retry_after(mut self, after: std::time::Duration) -> Self {
        self.fields.retain(|(name, _)| *name != "Retry-After");
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with("Retry-After", seconds.max(1).to_string())
    }

    /// The same with one more field. Line ends in `value` are left out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let mut value = value.into();
        value.retain(|c| !c.is_control());
        self.fields.push((name, value));
        self
    }

    /// The whole answer.
    pub(crate) fn write(&self, out: &mut Vec<u8>, to_head: bool, close: bool) {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, words(self.status));
        for (name, value) in [("Content-Type", self.content_type), ("Cache-Control", "no-store")] {
            line(&mut head, name, value);
        }
        line(&mut head, "Content-Length", &self.body.len().to_string());
        if let Some(reason) = self.reason {
            line(&mut head, REASON_HEADER, reason.code());
        }
        for (name, value) in &self.fields {
            line(&mut head, name, value);
        }
        if close {
            line(&mut head, "Connection", "close");
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
        if !to_head {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}

fn line(head: &mut String, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        head.push_str(part);
    }
}

/// The words that go with a status we answer ourselves.
const fn words(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Answer",
    }
}
