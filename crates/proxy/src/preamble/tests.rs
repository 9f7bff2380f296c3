#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use proptest::prelude::*;

use super::{Bad, FIXED, MOST_V1, MOST_V2, Preamble, SIGNATURE, read};

fn told(address: &str) -> Preamble {
    Preamble::Told(address.parse().unwrap())
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn four() -> Vec<u8> {
    vec![192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb]
}

fn six() -> Vec<u8> {
    let mut rest = vec![0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    rest.extend_from_slice(&[0; 15]);
    rest.extend_from_slice(&[1, 0xdc, 0x04, 0x01, 0xbb]);
    rest
}

/// Valid ones, each with what it says.
fn valid() -> Vec<(Vec<u8>, Preamble)> {
    let text = |line: &str| line.as_bytes().to_vec();
    let beside = [four(), vec![0x04, 0, 3, 1, 2, 3]].concat();
    vec![
        (text("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n"), told("192.0.2.7:56324")),
        (text("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), told("255.255.255.255:65535")),
        (text("PROXY TCP6 2001:db8::7 ::1 0 443\r\n"), told("[2001:db8::7]:0")),
        (text("PROXY UNKNOWN\r\n"), Preamble::Own),
        (text("PROXY UNKNOWN whatever it says\r\n"), Preamble::Own),
        (binary(0x21, 0x11, &four()), told("192.0.2.7:56324")),
        (binary(0x21, 0x11, &beside), told("192.0.2.7:56324")),
        (binary(0x21, 0x21, &six()), told("[2001:db8::7]:56324")),
        (binary(0x20, 0x00, &[]), Preamble::Own),
        (binary(0x20, 0x11, &four()), Preamble::Own),
        (binary(0x21, 0x00, &[1, 2, 3]), Preamble::Own),
        (binary(0x21, 0x12, &four()), Preamble::Own),
        (binary(0x21, 0x31, &[0; 216]), Preamble::Own),
        (binary(0x21, 0x11, &[four(), vec![0; MOST_V2 - 12]].concat()), told("192.0.2.7:56324")),
    ]
}

#[test]
fn whole_ones_are_read_and_what_follows_is_left() {
    for (octets, says) in valid() {
        assert_eq!(read(&octets), Ok(Some((octets.len(), says))));
        for behind in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\r\n", &[0; 2000]] {
            assert_eq!(read(&[&octets[..], behind].concat()), Ok(Some((octets.len(), says))));
        }
    }
}

#[test]
fn every_part_of_one_asks_for_more() {
    for (octets, _) in valid() {
        for length in 0..octets.len() {
            assert_eq!(read(&octets[..length]), Ok(None), "{length} of {octets:?}");
        }
    }
}

#[test]
fn whatever_else_stands_there_is_noticed_at_once() {
    for other in ["GET / HTTP/1.1\r\n", "POST", "PROPFIND", "PRI * HTTP/2.0", "\x16", "\r\n\r\nG", "proxy TCP4", " PROXY"] {
        assert_eq!(read(other.as_bytes()), Err(Bad::Missing), "{other:?}");
    }
}

#[test]
fn a_line_is_read_strictly() {
    let lines = [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 ::1 1 2\r\n",
        "PROXY TCP4 ::1 10.0.0.1 1 2\r\n",
        "PROXY TCP6 192.0.2.7 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 +2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n\r\n",
        "PROXY TCP4 192.0.2.7\t10.0.0.1 1 2\r\n",
        "PROXY UNKNOWN\u{e9}x\r\n",
    ];
    for line in lines {
        assert_eq!(read(line.as_bytes()), Err(Bad::Malformed), "{line:?}");
    }
    assert_eq!(read(b"PROXY UNKNOWN \xff\r\n"), Err(Bad::Malformed));
}

#[test]
fn both_versions_have_an_end() {
    let longest = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(read(longest(MOST_V1).as_bytes()), Ok(Some((MOST_V1, Preamble::Own))));
    assert_eq!(read(longest(MOST_V1 + 1).as_bytes()), Err(Bad::TooLong));
    assert_eq!(read(&longest(400).as_bytes()[..MOST_V1]), Err(Bad::TooLong));
    // Before any of the rest is there.
    assert_eq!(read(&binary(0x21, 0x11, &vec![0; MOST_V2 + 1])[..FIXED]), Err(Bad::TooLong));
}

#[test]
fn places_that_mean_nothing_are_refused() {
    for (command, family, rest) in [
        (0x22, 0x11, four()),
        (0x11, 0x11, four()),
        (0x31, 0x11, four()),
        (0x21, 0x41, four()),
        (0x21, 0x13, four()),
        (0x21, 0x11, four()[..11].to_vec()),
        (0x21, 0x21, six()[..35].to_vec()),
        (0x21, 0x21, Vec::new()),
    ] {
        assert_eq!(read(&binary(command, family, &rest)), Err(Bad::Malformed), "{command:x} {family:x} {rest:?}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_borne(octets in prop::collection::vec(any::<u8>(), 0..1200)) {
        let _ = read(&octets);
    }

    #[test]
    fn any_octets_behind_a_true_beginning_are_borne(
        version in prop::sample::select(vec![b"PROXY ".to_vec(), b"PROXY TCP4 ".to_vec(), b"PROXY TCP6 ".to_vec(), SIGNATURE.to_vec(), [SIGNATURE, b"\x21\x11\0"].concat()]),
        octets in prop::collection::vec(any::<u8>(), 0..1200),
    ) {
        let all = [version, octets].concat();
        if let Ok(Some((used, _))) = read(&all) {
            prop_assert!(used <= all.len() && used <= FIXED + MOST_V2);
            // What is shorter by one octet is not whole.
            prop_assert_eq!(read(&all[..used - 1]), Ok(None));
        }
    }

    #[test]
    fn addresses_come_back(from: SocketAddr, to: SocketAddr) {
        prop_assume!(from.is_ipv4() == to.is_ipv4());
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
        let expected = Preamble::Told(SocketAddr::new(from.ip(), from.port()));
        prop_assert_eq!(read(line.as_bytes()), Ok(Some((line.len(), expected))));
    }
}
