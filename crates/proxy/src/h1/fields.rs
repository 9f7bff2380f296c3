//! Which fields of a head travel on.

/// What a field is to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Travels on.
    EndToEnd,
    /// Belongs to one connection, or frames the message, or imitates a field that does: the relay writes its own.
    Hop,
    /// `Host`: written by the relay from the one that was judged.
    Host,
    /// `Expect`: travels on where the client really waits.
    Expect,
    /// Tells who the visitor is and how it came: believed only from an edge.
    Forwarding,
    /// The request's place in its trace: each hop writes its own.
    TraceParent,
    /// What others noted about the trace: travels on with it.
    TraceState,
    /// Ours: never believed from outside.
    Atoll,
}

/// Longest name looked at; longer ones are none of those below.
const LONGEST: usize = 32;

/// Every name that does not simply travel on, but ours.
const WORDS: [(&[u8], Kind); 34] = [
    (b"host", Kind::Host),
    (b"expect", Kind::Expect),
    (b"connection", Kind::Hop),
    (b"keep-alive", Kind::Hop),
    (b"proxy-connection", Kind::Hop),
    (b"te", Kind::Hop),
    (b"trailer", Kind::Hop),
    (b"transfer-encoding", Kind::Hop),
    (b"upgrade", Kind::Hop),
    (b"content-length", Kind::Hop),
    (b"proxy-authenticate", Kind::Hop),
    (b"proxy-authorization", Kind::Hop),
    (b"http2-settings", Kind::Hop),
    (b"proxy", Kind::Hop),
    (b"forwarded", Kind::Forwarding),
    (b"x-forwarded-for", Kind::Forwarding),
    (b"x-forwarded-host", Kind::Forwarding),
    (b"x-forwarded-proto", Kind::Forwarding),
    (b"x-forwarded-port", Kind::Forwarding),
    (b"x-forwarded-prefix", Kind::Forwarding),
    (b"x-forwarded-server", Kind::Forwarding),
    (b"x-forwarded-ssl", Kind::Forwarding),
    (b"x-forwarded-scheme", Kind::Forwarding),
    (b"x-real-ip", Kind::Forwarding),
    (b"x-request-id", Kind::Forwarding),
    (b"traceparent", Kind::TraceParent),
    (b"tracestate", Kind::TraceState),
    (b"x-original-url", Kind::Forwarding),
    (b"x-rewrite-url", Kind::Forwarding),
    (b"x-original-host", Kind::Forwarding),
    (b"x-host", Kind::Forwarding),
    (b"front-end-https", Kind::Forwarding),
    (b"x-client-ip", Kind::Forwarding),
    (b"true-client-ip", Kind::Forwarding),
];

/// Ours begin with one of these.
const OURS: [&[u8]; 2] = [b"atoll-", b"x-atoll-"];

/// By first octet: the lengths of the words above that begin with it, as bits.
const LENGTHS: [u64; 256] = {
    let mut lengths = [0; 256];
    let mut at = 0;
    while at < WORDS.len() {
        let word = WORDS[at].0;
        lengths[word[0] as usize] |= 1 << word.len();
        lengths[word[0].to_ascii_uppercase() as usize] |= 1 << word.len();
        at += 1;
    }
    lengths
};

fn begins(name: &[u8], prefix: &[u8]) -> bool {
    name.len() >= prefix.len() && name.iter().zip(prefix).all(|(&a, &b)| plain(a) == b)
}

/// Kind of a field, by its name with every character but letters and digits read as `-`, as servers that pass fields on in variables do.
pub(crate) fn kind(name: &[u8]) -> Kind {
    // Most fields of most messages differ from all words in their first letter and length alone.
    let Some(&first) = name.first() else { return Kind::EndToEnd };
    if matches!(first, b'a' | b'A' | b'x' | b'X') && OURS.iter().any(|prefix| begins(name, prefix)) {
        return Kind::Atoll;
    }
    if name.len() > LONGEST || LENGTHS[usize::from(first)] & (1 << name.len()) == 0 {
        return Kind::EndToEnd;
    }
    let is = |word: &[u8]| word.len() == name.len() && name.iter().zip(word).all(|(&a, &b)| plain(a) == b);
    WORDS.iter().find(|(word, _)| is(word)).map_or(Kind::EndToEnd, |(_, kind)| *kind)
}

const fn plain(octet: u8) -> u8 {
    if octet.is_ascii_alphanumeric() { octet.to_ascii_lowercase() } else { b'-' }
}

/// Whether a trailer of this name could change what its head said.
pub(crate) fn is_unfit_for_trailers(name: &[u8]) -> bool {
    const UNFIT: [&[u8]; 14] = [
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"expires",
        b"location",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"vary",
        b"www-authenticate",
    ];
    UNFIT.iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// Whether a text is a token: what names and methods are made of.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}
