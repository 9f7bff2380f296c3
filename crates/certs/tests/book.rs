//! The book: who is answered with what, what is refused, what a damaged entry costs, and how one book follows another.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;

use certs::{Book, Certificate, Challenge, Choice, DEFAULT, EVERYBODY, Https, Kind, Line, Pair, Told, What, self_signed};
use identity::Sealer;
use jiff::{SignedDuration, Timestamp};
use model::Sensitive;
use rustls::sign::CertifiedKey;

fn book(folder: &Path, name: &str) -> Book {
    let sealer = Sealer::create_or_open(&folder.join(format!("{name}.key"))).unwrap();
    Book::open(&folder.join(format!("{name}.db")), sealer, 16).unwrap()
}

fn certificate_at(names: &[&str], now: Timestamp) -> Certificate {
    let (chain, key) = self_signed(names, now).unwrap();
    Pair::read(&chain, key.reveal()).unwrap().certificate(chain, key)
}

fn certificate(names: &[&str]) -> Certificate {
    certificate_at(names, Timestamp::now())
}

fn word(name: &str, names: &[&str]) -> (String, What) {
    (name.to_owned(), What::Certificate(Box::new(certificate(names))))
}

fn shown(book: &Book, host: &str) -> Option<Vec<String>> {
    let names = |certified: Arc<CertifiedKey>| {
        let (_, parsed) = x509_parser::parse_x509_certificate(&certified.cert[0]).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        names.value.general_names.iter().map(|name| name.to_string().replace("DNSName(", "").replace(')', "")).collect()
    };
    book.load((!host.is_empty()).then_some(host)).map(names)
}

#[test]
fn a_name_is_answered_with_its_own_certificate_then_a_wildcard_then_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), "own");
    assert!(matches!(book.choose(Some("a.shop.example")), Choice::None), "an empty book shows nothing");
    book.put(vec![word("a", &["a.shop.example", "b.example"]), word("wild", &["*.shop.example"])]).unwrap();
    assert_eq!(shown(&book, "a.shop.example").unwrap()[0], "a.shop.example");
    assert_eq!(shown(&book, "b.example").unwrap()[1], "b.example");
    assert_eq!(shown(&book, "z.shop.example").unwrap()[0], "*.shop.example");
    for none in ["shop.example", "y.z.shop.example", "other.example", ""] {
        assert_eq!(shown(&book, none), None, "{none}");
    }
    book.put(vec![word(DEFAULT, &["platform.example"])]).unwrap();
    assert_eq!(shown(&book, "other.example").unwrap()[0], "platform.example");
    assert_eq!(shown(&book, "").unwrap()[0], "platform.example");
    book.put(vec![("a".to_owned(), What::Gone(Kind::Certificate))]).unwrap();
    assert_eq!(shown(&book, "a.shop.example").unwrap()[0], "*.shop.example", "the wildcard steps in");
    assert_eq!(shown(&book, "b.example").unwrap()[0], "platform.example");
}

#[test]
fn a_host_is_told_its_own_policy_then_a_wildcards_then_everybodys() {
    let folder = tempfile::tempdir().unwrap();
    let told = |hsts| Https { redirect: true, hsts };
    let policy = |host: &str, hsts| (host.to_owned(), What::Policy(told(hsts)));
    {
        let book = book(folder.path(), "own");
        book.put(vec![policy(EVERYBODY, 1), policy("*.shop.example", 2), policy("a.shop.example", 3)]).unwrap();
    }
    let book = book(folder.path(), "own");
    let hosts = ["shop.example", "z.shop.example", "a.shop.example", "y.z.shop.example", "localhost"];
    assert_eq!(hosts.map(|host| book.policy(host).hsts), [1, 2, 3, 1, 1]);
    assert_eq!(book.own_policy("*.shop.example"), Some(told(2)));
    assert_eq!(book.own_policy("z.shop.example"), None);
    let mut policies = book.policies();
    policies.sort();
    assert_eq!(policies, ["*", "*.shop.example", "a.shop.example"]);
    book.put(vec![("*.shop.example".to_owned(), What::Gone(Kind::Policy))]).unwrap();
    assert_eq!(book.policy("z.shop.example").hsts, 1);
}

#[test]
fn a_foreign_key_is_refused_and_nothing_of_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), "own");
    let mut wrong = certificate(&["a.example"]);
    wrong.key = certificate(&["a.example"]).key;
    let error = book.put(vec![word("b", &["b.example"]), ("a".to_owned(), What::Certificate(Box::new(wrong)))]).unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
    assert_eq!((book.certificates(), book.number()), (0, 0));
}

#[test]
fn one_that_has_ended_gives_way_to_any_other_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), "own");
    let past = Timestamp::now() - SignedDuration::from_hours(2 * 366 * 24);
    book.put(vec![("a".to_owned(), What::Certificate(Box::new(certificate_at(&["a.shop.example"], past))))]).unwrap();
    assert_eq!(shown(&book, "a.shop.example").unwrap()[0], "a.shop.example", "better than nothing: our clock may be wrong");
    assert!(book.problems()[0].reason.starts_with("it ended at"), "{:?}", book.problems());
    book.put(vec![word("wild", &["*.shop.example"])]).unwrap();
    assert_eq!(shown(&book, "a.shop.example").unwrap()[0], "*.shop.example");
}

#[test]
fn a_damaged_entry_is_passed_over_and_told_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let first = book(folder.path(), "own");
    first.put(vec![word("a", &["a.shop.example"]), word("b", &["b.shop.example"]), word("wild", &["*.shop.example"])]).unwrap();
    drop(first);
    let file = rusqlite::Connection::open(folder.path().join("own.db")).unwrap();
    let changed = file.execute("UPDATE bodies SET sealed = (SELECT sealed FROM bodies WHERE name = 'b') WHERE name = 'a'", []).unwrap();
    assert_eq!(changed, 1);
    file.execute("UPDATE entries SET mark = '{' WHERE name = 'b'", []).unwrap();
    let second = book(folder.path(), "own");
    assert_eq!(shown(&second, "a.shop.example").unwrap()[0], "*.shop.example", "another's key in its place is found out");
    assert_eq!(shown(&second, "b.shop.example").unwrap()[0], "*.shop.example");
    let names: Vec<_> = second.problems().into_iter().map(|problem| problem.name).collect();
    assert_eq!(names, ["a", "b"]);
    second.put(vec![word("a", &["a.shop.example"])]).unwrap();
    assert_eq!(shown(&second, "a.shop.example").unwrap()[0], "a.shop.example", "a new word heals it");
}

#[test]
fn a_file_that_is_no_book_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.db");
    std::fs::write(&path, b"something else entirely, and long enough to be taken for a header ".repeat(20)).unwrap();
    let sealer = || Sealer::create_or_open(&folder.path().join("own.key")).unwrap();
    assert!(matches!(Book::open(&path, sealer(), 1), Err(certs::BookError::Damaged(..))));
    assert!(Book::put_aside(&path).unwrap().exists());
    assert_eq!(Book::open(&path, sealer(), 1).unwrap().certificates(), 0);
}

#[test]
fn no_private_key_lies_open_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let book = book(folder.path(), "own");
    let certificate = certificate(&["a.example"]);
    let secret = certificate.key.reveal().lines().nth(1).unwrap().to_owned();
    book.put(vec![("a".to_owned(), What::Certificate(Box::new(certificate)))]).unwrap();
    book.note_memo("account", "ca", Some(&Sensitive::new(secret.clone()))).unwrap();
    assert_eq!(book.memo("account", "ca").unwrap().unwrap().reveal(), &secret);
    drop(book);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

/// Everything that a follower at its place would be sent.
fn lines(source: &Book, follower: &Book) -> Vec<Line> {
    let place = follower.place().filter(|(incarnation, number)| source.continues(incarnation, *number));
    let begin = place.is_none().then(|| Line::Begin { incarnation: source.incarnation() });
    let (entries, reached) = source.after(place.map_or(0, |(_, number)| number), 1000).unwrap();
    let entries = entries.into_iter().map(|entry| Line::Entry(Box::new(entry)));
    begin
        .into_iter()
        .chain(entries)
        .chain([Line::Alive { number: reached }])
        .map(|line| Line::decode(line.encode().unwrap().as_bytes()).unwrap())
        .collect()
}

#[test]
fn a_book_follows_another_through_restarts_and_a_new_life() {
    let folder = tempfile::tempdir().unwrap();
    let source = book(folder.path(), "source");
    let follower = book(folder.path(), "follower");
    source.put(vec![word("a", &["a.example"]), word("b", &["b.example"])]).unwrap();
    let challenge = Challenge { domain: "c.example".to_owned(), answer: "token.thumb".to_owned() };
    source.put(vec![("token".to_owned(), What::Challenge(challenge))]).unwrap();
    follower.take(lines(&source, &follower)).unwrap();
    assert_eq!((follower.certificates(), follower.answer("token").as_deref(), follower.number()), (2, Some("token.thumb"), 3));
    source.put(vec![("a".to_owned(), What::Gone(Kind::Certificate)), ("token".to_owned(), What::Gone(Kind::Challenge))]).unwrap();
    drop(follower);
    let follower = book(folder.path(), "follower");
    let sent = lines(&source, &follower);
    assert_eq!(sent.len(), 3, "only what it lacks: {sent:?}");
    follower.take(sent).unwrap();
    assert_eq!((follower.certificates(), follower.answer("token")), (1, None));
    assert!(shown(&follower, "a.example").is_none() && shown(&follower, "b.example").is_some());

    // Another source: nothing of the old one is lost before the new one has told everything, and nothing of it stays then.
    let other = book(folder.path(), "other");
    other.put(vec![word("d", &["d.example"])]).unwrap();
    let mut sent = lines(&other, &follower);
    let alive = sent.pop().unwrap();
    follower.take(sent).unwrap();
    assert!(shown(&follower, "b.example").is_some() && shown(&follower, "d.example").is_some());
    drop(follower);
    let follower = book(folder.path(), "follower");
    assert!(shown(&follower, "b.example").is_some(), "interrupted");
    follower.take(lines(&other, &follower)).unwrap();
    assert!(shown(&follower, "b.example").is_none() && shown(&follower, "d.example").is_some());
    assert_eq!(follower.place(), Some((other.incarnation(), other.number())));
    assert_eq!(follower.take(vec![alive]).unwrap(), [Told::Taken]);
    assert_eq!(follower.take(vec![Line::Alive { number: 0 }]).unwrap(), [Told::Apart], "a source that went back");
}

#[test]
fn a_book_with_many_certificates_opens_at_once_and_keeps_few_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let first = book(folder.path(), "own");
    let template = certificate(&["a.example"]);
    for chunk in 0..10 {
        let words = (0..200).map(|n| {
            let mut one = template.clone();
            one.names = vec![format!("n{}.example", chunk * 200 + n)];
            (one.names[0].clone(), What::Certificate(Box::new(one)))
        });
        first.put(words.collect()).unwrap();
    }
    drop(first);
    let second = book(folder.path(), "own");
    assert_eq!(second.certificates(), 2000);
    for n in 0..100 {
        assert!(second.load(Some(&format!("n{n}.example"))).is_some());
    }
    assert!(matches!(second.choose(Some("n0.example")), Choice::OnDisk), "16 are remembered");
    assert!(matches!(second.choose(Some("n99.example")), Choice::Ready(_)));
}
