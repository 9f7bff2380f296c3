//! Whose request it is: one Host, well-formed, the same as an absolute target says; and never somebody else's.

use super::case::Case;

/// Values of Host that name nobody.
const BAD: &[&str] = &[
    "",
    ".",
    "{host}:80:80",
    "{host}:x",
    "{host}:+80",
    "{host}:-1",
    "{host}: 80",
    "{host}:80a",
    "{host}:99999",
    "{host}:65536",
    "{host}:000080",
    "a@{host}",
    "a:b@{host}",
    "{host}@forged.test",
    "{host}:80@forged.test",
    "{host},forged.test",
    "{host}, {host}",
    "{host} forged.test",
    "{host}\tforged.test",
    "{host}/",
    "{host}/a",
    "{host}?a",
    "{host}#a",
    "{host}\\a",
    "{host};a",
    "{host}%00",
    "{host}%2eforged.test",
    "%73.test",
    "http://{host}",
    "//{host}",
    "'{host}'",
    "\"{host}\"",
    "<{host}>",
    "{host}*",
    "*",
    "*.test",
    "(a){host}",
    "{host}\u{e9}",
    "\u{ff53}.test",
    "::1",
    "[::1",
    "::1]",
    "[::1]x",
    "[::1]:x",
    "[]",
    "[",
    "[]:80",
    "[{host}]",
    "[{host}]:80",
    "[:::]",
    "[::1]]",
    "[[::1]]",
    "[::1%25eth0]",
    "[::1%eth0]",
    "[v1.a]",
    "[127.0.0.1]",
    "{host}[::1]",
    "[::1]{host}",
    "[::1].{host}",
    ":80",
    ":",
];

/// Values of Host that could name somebody whom nobody knows.
const UNKNOWN: &[&str] = &[
    "forged.test",
    "{host}.forged.test",
    "forged.{host}",
    "{host}..",
    "..{host}",
    ".{host}",
    "{host}-",
    "_{host}",
    "localhost",
    "127.0.0.1",
    "127.0.0.1:8080",
    "2130706433",
    "[::1]",
    "[::1]:80",
    "[::ffff:127.0.0.1]",
    "[::]",
    "xn--bcher-kva.test",
    "a_b.test",
    "test",
];

/// Values of Host that name the tenant.
const GOOD: &[&str] =
    &["{host}", "{HOST}", "{host}.", "{HOST}.", "{host}:80", "{host}:8080", "{host}:65535", "{host}.:80", "{host}:", "  {host}  ", "\t{host}"];

/// First line, the fields behind it, reason.
const MISMATCHED: &[(&str, &str, &str, &str)] = &[
    ("no Host", "GET / HTTP/1.1", "", "BadHost"),
    ("no Host in version 1.0", "GET / HTTP/1.0", "", "BadHost"),
    ("two different hosts", "GET / HTTP/1.1", "Host: {host}\r\nHost: forged.test\r\n", "BadHost"),
    ("two different hosts, the other way", "GET / HTTP/1.1", "Host: forged.test\r\nHost: {host}\r\n", "BadHost"),
    ("two equal hosts", "GET / HTTP/1.1", "Host: {host}\r\nHost: {host}\r\n", "BadHost"),
    ("two hosts in different letters", "GET / HTTP/1.1", "Host: {host}\r\nhOST: forged.test\r\n", "BadHost"),
    ("a second host, empty", "GET / HTTP/1.1", "Host: {host}\r\nHost:\r\n", "BadHost"),
    ("a host in a folded line", "GET / HTTP/1.1", "Host: {host}\r\n forged.test\r\n", "MalformedHead"),
    ("a host in a line of its own", "GET / HTTP/1.1", "Host:\r\n {host}\r\n", "MalformedHead"),
    ("a host with a blank before the colon", "GET / HTTP/1.1", "Host : {host}\r\n", "MalformedHead"),
    ("a host with a NUL", "GET / HTTP/1.1", "Host: {host}\0.forged.test\r\n", "MalformedHead"),
    ("absolute, another host", "GET http://forged.test/ HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, for another host", "GET http://{host}/ HTTP/1.1", "Host: forged.test\r\n", "BadHost"),
    ("absolute, without Host", "GET http://{host}/ HTTP/1.1", "", "BadHost"),
    ("absolute, another port", "GET http://{host}:81/ HTTP/1.1", "Host: {host}:80\r\n", "BadHost"),
    ("absolute, a port that Host lacks", "GET http://{host}:80/ HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, a dot that Host lacks", "GET http://{host}./ HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, with a user", "GET http://a@{host}/ HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, the host as user", "GET http://{host}@forged.test/ HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, with the same user in both", "GET http://a@{host}/ HTTP/1.1", "Host: a@{host}\r\n", "BadHost"),
    ("absolute, without host", "GET http:///a HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, without host in both", "GET http:///a HTTP/1.1", "Host:\r\n", "BadHost"),
    ("absolute, with a backslash", "GET http://{host}\\@forged.test/ HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, without path", "GET http://{host} HTTP/1.1", "Host: {host}\r\n", "MalformedHead"),
    ("absolute, query without path", "GET http://{host}?a=/b HTTP/1.1", "Host: {host}\r\n", "BadHost"),
    ("absolute, with a fragment", "GET http://{host}/#a HTTP/1.1", "Host: {host}\r\n", "MalformedHead"),
    ("absolute, by TLS where there is none", "GET https://{host}/ HTTP/1.1", "Host: {host}\r\n", "MalformedHead"),
    ("absolute, another scheme", "GET ftp://{host}/ HTTP/1.1", "Host: {host}\r\n", "MalformedHead"),
    ("absolute, one slash", "GET http:/{host}/ HTTP/1.1", "Host: {host}\r\n", "MalformedHead"),
    ("the authority alone", "GET {host} HTTP/1.1", "Host: {host}\r\n", "MalformedHead"),
];

/// First line, Host, the first line at the backend.
const ABSOLUTE: &[(&str, &str, &str)] = &[
    ("GET http://{host}/ HTTP/1.1", "{host}", "GET / HTTP/1.1"),
    ("GET http://{host}/a?b=http://forged.test/ HTTP/1.1", "{host}", "GET /a?b=http://forged.test/ HTTP/1.1"),
    ("GET HTTP://{HOST}/ HTTP/1.1", "{host}", "GET / HTTP/1.1"),
    ("GET http://{host}:80/ HTTP/1.1", "{host}:80", "GET / HTTP/1.1"),
    ("GET http://{host}//forged.test/ HTTP/1.1", "{host}", "GET //forged.test/ HTTP/1.1"),
];

pub fn cases() -> Vec<Case> {
    let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut cases: Vec<Case> = BAD.iter().map(|host| Case::new(format!("Host is none: {host:?}"), get(host)).refused(400, "BadHost")).collect();
    cases.extend(UNKNOWN.iter().map(|host| Case::new(format!("Host is nobody's: {host:?}"), get(host)).declined(404, "UnknownHost")));
    cases.extend(GOOD.iter().map(|host| Case::new(format!("Host is the tenant's: {host:?}"), get(host)).served("GET / HTTP/1.1")));
    let long = format!("{}test", "a.".repeat(125));
    cases.push(Case::new("Host of 254 octets", get(&long)).refused(400, "BadHost"));
    cases.push(Case::new("Host of 252 octets", get(&long[2..])).declined(404, "UnknownHost"));
    for (name, line, fields, reason) in MISMATCHED {
        cases.push(Case::new(*name, format!("{line}\r\n{fields}\r\n")).refused(400, reason));
    }
    for (line, host, seen) in ABSOLUTE {
        cases.push(Case::new(format!("absolute: {line}, Host {host}"), format!("{line}\r\nHost: {host}\r\n\r\n")).served(seen).lacks("get http"));
    }
    cases
}
