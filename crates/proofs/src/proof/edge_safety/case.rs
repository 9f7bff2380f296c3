//! What a case is: what the visitor does, what the backend does, and what must come of it.

use std::time::Duration;

/// Stands in a case's octets for the host of the backend that it is run against.
pub const HOST: &str = "{host}";
/// What a confused reader takes for a request of its own.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n";

/// One thing that one side does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends.
    Send(Vec<u8>),
    /// Sends the same over and over, until the other side takes no more or this was done so many times.
    Flood(Vec<u8>, usize),
    /// Sends octet after octet with pauses.
    Drip(Vec<u8>, Duration),
    /// Waits until this came, and takes it.
    Until(&'static str),
    /// Waits until this came, and leaves it where it is.
    See(&'static str),
    /// Tells the other side to go on.
    Signal,
    /// Waits until the other side says so.
    Await,
    /// Ends its direction of the connection.
    End,
}

/// A case.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// What the visitor does.
    pub says: Vec<Step>,
    /// What the backend does; nothing: it reads requests in its own way and answers each.
    pub script: Vec<Step>,
    pub expect: Expect,
}

/// What must come of a case.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Final answers, in order.
    pub answers: Vec<u16>,
    /// Why, where the edge answers the last of them itself.
    pub reason: Option<&'static str>,
    /// First lines of the requests that the backend found; where it runs a script, this is not asked.
    pub seen: Vec<String>,
    /// What stands, and does not stand, in the octets that the backend got; all in lower case.
    pub has: Vec<&'static str>,
    pub lacks: Vec<&'static str>,
    /// The same for what the visitor got.
    pub told: Vec<&'static str>,
    pub untold: Vec<&'static str>,
    /// Body of the last answer, or of the last request.
    pub body: Option<Vec<u8>>,
    pub upload: Option<Vec<u8>>,
    /// The last answer is broken off, so that the visitor knows that something is missing.
    pub cut: bool,
    /// The connection serves another request afterwards; otherwise it ends without another octet.
    pub open: bool,
    /// What comes behind the last answer, to the end of the connection.
    pub tunnel: &'static str,
    /// The answers go to HEAD.
    pub to_head: bool,
    /// Between which times the end comes.
    pub within: Option<(Duration, Duration)>,
}

impl Case {
    /// A visitor who sends this at once.
    pub fn new(name: impl Into<String>, octets: impl Into<Vec<u8>>) -> Self {
        Self::of(name, vec![Step::Send(octets.into())])
    }

    /// A visitor who does this.
    pub fn of(name: impl Into<String>, says: Vec<Step>) -> Self {
        Self { name: name.into(), says, script: Vec::new(), expect: Expect::default() }
    }

    /// The edge refuses: nothing reaches the backend, nothing after it is answered.
    pub fn refused(mut self, status: u16, reason: &'static str) -> Self {
        self.expect.answers.push(status);
        self.expect.reason = Some(reason);
        self.expect.open = false;
        self
    }

    /// The edge answers for itself, and goes on.
    pub fn declined(self, status: u16, reason: &'static str) -> Self {
        let mut case = self.refused(status, reason);
        case.expect.open = true;
        case
    }

    /// The backend finds one more request with this line, and its 200 reaches the visitor.
    pub fn served(mut self, line: &str) -> Self {
        self.expect.answers.push(200);
        self.expect.seen.push(line.to_owned());
        self.expect.open = true;
        self
    }

    /// The backend does this, and the visitor gets this status.
    pub fn answered(mut self, script: Vec<Step>, status: u16) -> Self {
        self.script = script;
        self.expect.answers.push(status);
        self.expect.open = true;
        self
    }

    /// Why, where the answer is not the backend's.
    pub const fn reason(mut self, reason: &'static str) -> Self {
        self.expect.reason = Some(reason);
        self
    }

    pub fn has(mut self, text: &'static str) -> Self {
        self.expect.has.push(text);
        self
    }

    pub fn lacks(mut self, text: &'static str) -> Self {
        self.expect.lacks.push(text);
        self
    }

    pub fn told(mut self, text: &'static str) -> Self {
        self.expect.told.push(text);
        self
    }

    pub fn untold(mut self, text: &'static str) -> Self {
        self.expect.untold.push(text);
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.expect.body = Some(body.into());
        self
    }

    pub fn upload(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.expect.upload = Some(body.into());
        self
    }

    pub const fn closes(mut self) -> Self {
        self.expect.open = false;
        self
    }

    pub const fn cut(mut self) -> Self {
        self.expect.cut = true;
        self.expect.open = false;
        self
    }

    /// After the answer nothing but this comes, to the end.
    pub const fn tunnel(mut self, text: &'static str) -> Self {
        self.expect.tunnel = text;
        self.expect.open = false;
        self
    }

    pub const fn for_head(mut self) -> Self {
        self.expect.to_head = true;
        self
    }

    pub const fn within(mut self, least: u64, most: u64) -> Self {
        self.expect.within = Some((Duration::from_secs(least), Duration::from_secs(most)));
        self
    }

    /// All that the visitor sends, where it does nothing else.
    pub fn octets(&self) -> Option<&[u8]> {
        match self.says.as_slice() {
            [Step::Send(octets)] => Some(octets),
            _ => None,
        }
    }
}

/// Sends text.
pub fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// A request with these more fields.
pub fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

/// A request with these more fields and this body.
pub fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n{body}")
}

/// Octets for one host, in small letters and in capitals.
pub fn for_host(octets: &[u8], host: &str) -> Vec<u8> {
    let small = replaced(octets, HOST.as_bytes(), host.as_bytes());
    replaced(&small, HOST.to_uppercase().as_bytes(), host.to_uppercase().as_bytes())
}

fn replaced(octets: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(octets.len()), octets);
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(with);
        rest = &rest[at + what.len()..];
    }
    out.extend_from_slice(rest);
    out
}
