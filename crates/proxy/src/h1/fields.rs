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
    /// Ours: never believed from outside.
    Atoll,
}

/// Longest name looked at; longer ones are none of those below.
const LONGEST: usize = 32;

/// Kind of a field, by its name with every character but letters and digits read as `-`, as servers that pass fields on in variables do.
pub(crate) fn kind(name: &[u8]) -> Kind {
    let mut plain = [0; LONGEST];
    let length = name.len().min(LONGEST);
    for (to, &from) in plain.iter_mut().zip(name) {
        *to = if from.is_ascii_alphanumeric() { from.to_ascii_lowercase() } else { b'-' };
    }
    let plain = &plain[..length];
    if plain.starts_with(b"atoll-") || plain.starts_with(b"x-atoll-") {
        return Kind::Atoll;
    }
    if name.len() > LONGEST {
        return Kind::EndToEnd;
    }
    match plain {
        b"host" => Kind::Host,
        b"expect" => Kind::Expect,
        b"connection"
        | b"keep-alive"
        | b"proxy-connection"
        | b"te"
        | b"trailer"
        | b"transfer-encoding"
        | b"upgrade"
        | b"content-length"
        | b"proxy-authenticate"
        | b"proxy-authorization"
        | b"http2-settings"
        | b"proxy" => Kind::Hop,
        b"forwarded"
        | b"x-forwarded-for"
        | b"x-forwarded-host"
        | b"x-forwarded-proto"
        | b"x-forwarded-port"
        | b"x-forwarded-prefix"
        | b"x-forwarded-server"
        | b"x-forwarded-ssl"
        | b"x-forwarded-scheme"
        | b"x-real-ip"
        | b"x-request-id"
        | b"x-original-url"
        | b"x-rewrite-url"
        | b"x-original-host"
        | b"x-host"
        | b"front-end-https"
        | b"x-client-ip"
        | b"true-client-ip" => Kind::Forwarding,
        _ => Kind::EndToEnd,
    }
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
