//! How servers behind the edge find requests in octets: one by the specification, and naive ones that accept what careless servers do.

/// A way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// By the specification; anything else is an offence.
    Strict,
    /// Accepts nearly everything; chunks win over a length.
    LaxChunks,
    /// Accepts nearly everything; a length wins over chunks.
    LaxLength,
}

/// What stands at the front of some octets.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Not enough yet.
    More,
    /// A request of so many octets.
    Request { used: usize, line: String, body: Vec<u8> },
    /// An offence.
    Bad(String),
}

/// How a body ends.
enum Body {
    Length(usize),
    Chunks,
}

impl Reader {
    /// Looks for a request.
    pub fn next(self, octets: &[u8]) -> Found {
        let blank = if self == Self::Strict { 0 } else { octets.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count() };
        let Some(end) = self.head_end(&octets[blank..]) else { return Found::More };
        let (head, rest) = octets[blank..].split_at(end);
        let (line, body) = match if self == Self::Strict { strict_head(head) } else { Ok(self.lax_head(head)) } {
            Ok(read) => read,
            Err(offence) => return Found::Bad(format!("{offence} in {}", head.escape_ascii())),
        };
        let taken = match body {
            Body::Length(length) => rest.get(..length).map(|body| (length, body.to_vec())),
            Body::Chunks if self == Self::Strict => match strict_chunks(rest) {
                Ok(taken) => taken,
                Err(offence) => return Found::Bad(format!("{offence} in {}", rest.escape_ascii())),
            },
            Body::Chunks => lax_chunks(rest),
        };
        taken.map_or(Found::More, |(used, body)| Found::Request { used: blank + end + used, line, body })
    }

    fn head_end(self, octets: &[u8]) -> Option<usize> {
        let ends: &[&[u8]] = if self == Self::Strict { &[b"\r\n\r\n"] } else { &[b"\n\r\n", b"\n\n"] };
        ends.iter().filter_map(|end| octets.windows(end.len()).position(|window| window == *end).map(|at| at + end.len())).min()
    }

    /// Lines end anywhere, names are cut and trimmed and their punctuation is all the same, numbers are read as far as they go, the last of several wins.
    fn lax_head(self, head: &[u8]) -> (String, Body) {
        let text = String::from_utf8_lossy(head).into_owned();
        let mut lines: Vec<String> = Vec::new();
        for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
            match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
                Some(before) => before.push_str(line),
                None => lines.push(line.to_owned()),
            }
        }
        let (mut length, mut chunks) = (None, false);
        for (name, value) in lines.iter().skip(1).filter_map(|line| line.split_once(':')) {
            let name = name.split('\0').next().unwrap_or_default().trim().to_lowercase();
            match name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").as_str() {
                "content-length" => length = Some(leading_number(value.split(',').next_back().unwrap_or_default())),
                "transfer-encoding" => chunks |= value.to_lowercase().contains("chunked"),
                _ => {}
            }
        }
        let body = match (length, chunks) {
            (Some(length), true) if self == Self::LaxLength => Body::Length(length),
            (_, true) => Body::Chunks,
            (length, false) => Body::Length(length.unwrap_or(0)),
        };
        (lines.first().cloned().unwrap_or_default(), body)
    }
}

/// As C's `strtol` reads a number.
fn leading_number(text: &str) -> usize {
    let text = text.trim().trim_start_matches('+');
    text[..text.bytes().take_while(u8::is_ascii_digit).count()].parse().unwrap_or(0)
}

fn strict_head(head: &[u8]) -> Result<(String, Body), &'static str> {
    let text = std::str::from_utf8(head).map_err(|_| "octets that are no text")?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let line = lines.next().unwrap_or_default();
    if text.replace("\r\n", "").contains(|c: char| c != '\t' && c.is_control()) {
        return Err("a control character");
    }
    let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), Vec::new());
    for field in lines {
        let (name, value) = field.split_once(':').ok_or("a line without colon")?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            return Err("an odd name");
        }
        match name.to_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.trim()),
            "transfer-encoding" => codings.push(value.trim()),
            _ => {}
        }
    }
    let parts: Vec<&str> = line.split(' ').collect();
    match (hosts, lengths.as_slice(), codings.as_slice()) {
        _ if parts.len() != 3 || parts[2] != "HTTP/1.1" => Err("an odd first line"),
        (1, [], []) => Ok((line.to_owned(), Body::Length(0))),
        (1, [length], []) if length.bytes().all(|b| b.is_ascii_digit()) => {
            Ok((line.to_owned(), Body::Length(length.parse().map_err(|_| "an odd length")?)))
        }
        (1, [], ["chunked"]) => Ok((line.to_owned(), Body::Chunks)),
        (1, _, _) => Err("an ambiguous length"),
        _ => Err("not one Host"),
    }
}

/// What chunks say and how long they are; `None` where something is missing. No extensions, no trailers: the edge passes on neither.
fn strict_chunks(octets: &[u8]) -> Result<Option<(usize, Vec<u8>)>, &'static str> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let Some(end) = octets[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let line = &octets[at..at + end];
        if line.is_empty() || !line.iter().all(u8::is_ascii_hexdigit) {
            return Err("an odd chunk");
        }
        let size = std::str::from_utf8(line).ok().and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or("an odd chunk")?;
        at += end + 2;
        let Some(data) = octets.get(at..at + size + 2) else { return Ok(None) };
        if &data[size..] != b"\r\n" {
            return Err("a chunk or the body without its end");
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((at, body)));
        }
    }
}

/// As above, with lines that end anyhow, signs, prefixes and extensions.
fn lax_chunks(octets: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut body) = (0, Vec::new());
    let line = |at: usize| octets.get(at..)?.iter().position(|&b| b == b'\n').map(|end| at + end + 1);
    loop {
        let end = line(at)?;
        let text = String::from_utf8_lossy(&octets[at..end]).trim().trim_start_matches('+').trim_start_matches("0x").to_owned();
        let size = usize::from_str_radix(&text[..text.bytes().take_while(u8::is_ascii_hexdigit).count()], 16).unwrap_or(0);
        at = end;
        if size == 0 {
            // Trailers, to an empty line.
            loop {
                let end = line(at)?;
                let empty = octets[at..end].trim_ascii().is_empty();
                at = end;
                if empty {
                    return Some((at, body));
                }
            }
        }
        body.extend_from_slice(octets.get(at..at.checked_add(size)?)?);
        at += size;
        at += octets.get(at..)?.iter().take(2).take_while(|b| matches!(b, b'\r' | b'\n')).count();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

    fn lines(reader: Reader, text: &str) -> Vec<String> {
        let (mut octets, mut lines) = (text.as_bytes(), Vec::new());
        loop {
            match reader.next(octets) {
                Found::Request { used, line, .. } => {
                    lines.push(line);
                    octets = &octets[used..];
                }
                Found::More => return lines,
                Found::Bad(offence) => {
                    lines.push(offence.split(" in ").next().unwrap().to_owned());
                    return lines;
                }
            }
        }
    }

    #[test]
    fn each_reader_is_fooled_in_its_own_way() {
        let both =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}", 5 + SMUGGLED.len());
        assert_eq!(lines(Reader::LaxChunks, &both), ["POST / HTTP/1.1", "GET /smuggled HTTP/1.1"]);
        assert_eq!(lines(Reader::LaxLength, &both), ["POST / HTTP/1.1"]);
        assert_eq!(lines(Reader::Strict, &both), ["an ambiguous length"]);
        let bare = format!("GET / HTTP/1.1\nHost: a\n\n{SMUGGLED}");
        assert_eq!(lines(Reader::LaxLength, &bare), ["GET / HTTP/1.1", "GET /smuggled HTTP/1.1"]);
    }

    #[test]
    fn what_is_by_the_specification_is_the_same_to_all() {
        let text = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        );
        for reader in [Reader::Strict, Reader::LaxChunks, Reader::LaxLength] {
            assert_eq!(lines(reader, &text), ["POST / HTTP/1.1", "POST /2 HTTP/1.1"], "{reader:?}");
        }
    }
}
