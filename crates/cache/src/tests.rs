//! What is kept, for whom, and for how long.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use crate::entry::Entry;
use crate::{Answered, Asked, Cache, Fields, Look, Mode, Options, Purge, room};

struct List(Vec<(String, String)>);

impl Fields for List {
    fn each(&self, see: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.0 {
            see(name.as_bytes(), value.as_bytes());
        }
    }
}

/// Fields from lines.
fn list(text: &str) -> List {
    List(text.lines().filter_map(|line| line.trim().split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A tenant's visitor.
struct World {
    cache: Arc<Cache>,
    now: SystemTime,
}

/// What a request got.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// From the cache.
    Hit(String),
    /// From the cache, which asks anew.
    Ripe(String),
    /// From the tenant, and it is kept.
    Kept,
    /// From the tenant, which was asked whether it still holds.
    Renewed(String),
    /// From the tenant.
    Passed,
    Waits,
}

impl World {
    fn new() -> Self {
        Self { cache: Cache::new(Options::new(1 << 20)), now: SystemTime::now() }
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Asks; the tenant would answer with `status`, these fields and this body.
    fn ask(&self, mode: Mode, target: &str, fields: &str, status: u16, told: &str, body: &str) -> Got {
        let fields = list(fields);
        let asked = Asked { tenant: "alpha", mode, secure: true, host: "shop.example", target, method: "GET", fields: &fields };
        let text = |entry: &Entry| String::from_utf8(entry.body.to_vec()).unwrap();
        match self.cache.look(&asked, false, false, self.now) {
            Look::Serve(entry) => Got::Hit(text(&entry)),
            Look::Refresh(entry) => Got::Ripe(text(&entry)),
            Look::Pass => Got::Passed,
            Look::Wait(_) => Got::Waits,
            Look::Fetch(task) => match task.answered(&asked, status, &list(told), self.now) {
                Answered::Passes => Got::Passed,
                Answered::Renewed(entry) => Got::Renewed(text(&entry)),
                Answered::Keep(mut keeping) => {
                    assert!(keeping.push(body.as_bytes()));
                    keeping.finish();
                    Got::Kept
                }
            },
        }
    }

    fn get(&self, target: &str, fields: &str, told: &str, body: &str) -> Got {
        self.ask(Mode::On, target, fields, 200, told, body)
    }
}

#[test]
fn a_fresh_answer_serves_the_next_and_an_old_one_does_not() {
    let mut world = World::new();
    assert_eq!(world.get("/", "", "Cache-Control: max-age=60", "one"), Got::Kept);
    world.later(59);
    assert_eq!(world.get("/", "", "", ""), Got::Hit("one".into()));
    world.later(2);
    assert_eq!(world.get("/", "", "Cache-Control: max-age=60", "two"), Got::Kept);
    assert_eq!(world.get("/", "", "", ""), Got::Hit("two".into()));
    assert_eq!(world.get("/?q=1", "", "Cache-Control: no-store", ""), Got::Passed);
}

#[test]
fn a_clock_that_jumps_costs_requests_and_shows_nothing_too_long() {
    let mut world = World::new();
    assert_eq!(world.get("/", "", "Cache-Control: max-age=60, stale-if-error=60", "one"), Got::Kept);
    let kept = world.now;
    world.now -= Duration::from_secs(3600);
    assert_eq!(world.get("/", "", "Cache-Control: max-age=60", "two"), Got::Kept, "an answer from the future has no age");
    world.now = kept + Duration::from_secs(10 * 366 * 86_400);
    assert_eq!(world.get("/", "", "Cache-Control: max-age=60", "three"), Got::Kept);
    world.now = kept;
    assert_eq!(world.get("/", "", "Cache-Control: max-age=60", "four"), Got::Kept, "the clock is right again");
    assert_eq!(world.get("/", "", "", ""), Got::Hit("four".into()));
}

#[test]
fn what_must_not_be_kept_is_not() {
    let told = "Cache-Control: max-age=60";
    for (fields, answer) in [
        ("", "Cache-Control: private, max-age=60"),
        ("", "Cache-Control: no-store"),
        ("", "Cache-Control: public, max-age=60\nSet-Cookie: a=b"),
        ("", "Cache-Control: max-age=60\nVary: *"),
        ("", "Cache-Control: max-age=60\nVary: Cookie"),
        ("", "Cache-Control: max-age=60\nVary: X-Real-IP"),
        ("", "Cache-Control: max-age=60\nContent-Encoding: gzip"),
        ("", "Cache-Control: max-age=0"),
        ("", "Content-Type: text/event-stream"),
        ("", "Pragma: no-cache"),
        ("Cookie: session=1", told),
        ("Cookie: session=1", ""),
        ("Authorization: Basic eA==", "Cache-Control: public, max-age=60"),
        ("Range: bytes=0-9", told),
        ("Accept: text/event-stream", told),
        ("Cache-Control: no-store", told),
        ("X-HTTP-Method-Override: DELETE", told),
    ] {
        let world = World::new();
        assert_eq!(world.get("/page", fields, answer, ""), Got::Passed, "{fields} / {answer}");
        assert!(!matches!(world.get("/page", "", "", ""), Got::Hit(_)), "{fields} / {answer}");
    }
    assert_eq!(World::new().ask(Mode::On, "/page", "", 500, told, ""), Got::Passed);
    assert_eq!(World::new().ask(Mode::On, "/page", "", 302, told, ""), Got::Passed);
}

#[test]
fn who_shows_a_cookie_finds_files_and_what_is_for_everybody() {
    let world = World::new();
    assert_eq!(world.get("/page", "", "Cache-Control: max-age=60", "anonymous"), Got::Kept);
    assert_eq!(world.get("/page", "Cookie: session=1", "Cache-Control: max-age=60", "own"), Got::Passed);
    assert_eq!(world.get("/page", "", "", ""), Got::Hit("anonymous".into()));
    assert_eq!(world.get("/open", "Cookie: session=1", "Cache-Control: s-maxage=60", "open"), Got::Kept);
    assert_eq!(world.get("/open", "Cookie: session=2", "", ""), Got::Hit("open".into()));
    let (style, page) = ("Content-Type: text/css\nCache-Control: max-age=60", "Content-Type: text/html\nCache-Control: max-age=60");
    for mode in [Mode::On, Mode::Static] {
        let world = World::new();
        assert_eq!(world.ask(mode, "/a.css", "Cookie: session=1", 200, style, "style"), Got::Kept);
        assert_eq!(world.ask(mode, "/a.css?v=1", "", 200, style, "style"), Got::Kept);
        assert_eq!(world.ask(mode, "/a.css", "Cookie: session=2", 200, "", ""), Got::Hit("style".into()));
        // A personal page under a file's name.
        assert_eq!(world.ask(mode, "/account/a.css", "Cookie: session=1", 200, page, "secret"), Got::Passed);
        assert_ne!(world.ask(mode, "/account/a.css", "", 200, page, ""), Got::Hit("secret".into()));
    }
    assert_eq!(World::new().ask(Mode::Static, "/page", "", 200, "Cache-Control: max-age=60", ""), Got::Passed);
}

#[test]
fn pages_that_say_nothing_are_believed_for_a_moment_and_until_a_change() {
    let mut world = World::new();
    assert_eq!(world.get("/", "", "Content-Type: text/html", "one"), Got::Kept);
    assert_eq!(world.get("/", "", "", ""), Got::Hit("one".into()));
    world.cache.changed("alpha", "shop.example", "/wp-admin/post.php");
    assert_eq!(world.get("/", "", "", "two"), Got::Kept);
    world.later(11);
    assert_eq!(world.get("/", "", "", "three"), Got::Kept);
    // Made before a change, it is not kept after it.
    let fields = list("");
    let asked = Asked { tenant: "alpha", mode: Mode::On, secure: true, host: "shop.example", target: "/two", method: "GET", fields: &fields };
    let Look::Fetch(task) = world.cache.look(&asked, false, false, world.now) else { panic!("nothing is kept") };
    let Answered::Keep(keeping) = task.answered(&asked, 200, &fields, world.now) else { panic!("it may be kept") };
    world.cache.changed("alpha", "shop.example", "/");
    keeping.finish();
    assert_eq!(world.get("/two", "", "", ""), Got::Kept);
}

#[test]
fn variants_stand_side_by_side() {
    let world = World::new();
    let told = "Cache-Control: max-age=60\nVary: Accept-Language";
    assert_eq!(world.get("/", "Accept-Language: cs", told, "ahoj"), Got::Kept);
    assert_eq!(world.get("/", "Accept-Language: pt", told, "ola"), Got::Kept);
    assert_eq!(world.get("/", "Accept-Language: cs", "", ""), Got::Hit("ahoj".into()));
    assert_eq!(world.get("/", "Accept-Language: pt", "", ""), Got::Hit("ola".into()));
    assert_eq!(world.get("/", "", told, ""), Got::Kept);
    assert_eq!(world.get("/", "Accept-Language: cs\nAccept-Language: pt", told, ""), Got::Kept, "several values are one other value");
}

#[test]
fn a_stale_answer_is_asked_about() {
    let mut world = World::new();
    let told = "Cache-Control: max-age=10\nETag: \"v1\"\nX-Other: 1\nContent-Type: text/html";
    assert_eq!(world.get("/", "", told, "one"), Got::Kept);
    world.later(11);
    assert_eq!(world.ask(Mode::On, "/", "", 304, "ETag: \"v1\"\nCache-Control: max-age=100\nX-Other: 2", ""), Got::Renewed("one".into()));
    world.later(50);
    let fields = list("");
    let asked = Asked { tenant: "alpha", mode: Mode::On, secure: true, host: "shop.example", target: "/", method: "GET", fields: &fields };
    let Look::Serve(entry) = world.cache.look(&asked, false, false, world.now) else { panic!("renewed for a hundred seconds") };
    let head = String::from_utf8(entry.head.to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("X-Other: 2\r\n") && head.contains("Content-Type: text/html\r\n"), "{head}");
    assert!(!head.contains("X-Other: 1"), "{head}");
    assert_eq!(entry.age(world.now), 50);
    assert!(entry.is_known_to(&list("If-None-Match: \"x\", W/\"v1\"")) && !entry.is_known_to(&list("If-None-Match: \"v2\"")));
    // A visitor who wants to be sure gets what the tenant says.
    assert_eq!(world.get("/", "Cache-Control: no-cache", told, "two"), Got::Kept);
}

#[test]
fn stale_while_somebody_asks_and_stale_where_asking_fails() {
    let mut world = World::new();
    assert_eq!(world.get("/", "", "Cache-Control: max-age=10, stale-while-revalidate=20, stale-if-error=100", "one"), Got::Kept);
    world.later(11);
    assert_eq!(world.get("/", "", "", ""), Got::Ripe("one".into()));
    assert_eq!(world.get("/", "", "", ""), Got::Hit("one".into()), "one errand at a time");
    world.later(20);
    let fields = list("");
    let asked = Asked { tenant: "alpha", mode: Mode::On, secure: true, host: "shop.example", target: "/", method: "GET", fields: &fields };
    let Look::Fetch(task) = world.cache.look(&asked, false, false, world.now) else { panic!("too old to be served") };
    assert!(task.stand_in(world.now).is_some() && task.stand_in(world.now + Duration::from_secs(100)).is_none());
    drop(task);
    let strict = "Cache-Control: max-age=10, must-revalidate, stale-while-revalidate=20, stale-if-error=100\nETag: x";
    assert_eq!(world.get("/strict", "", strict, "one"), Got::Kept);
    world.later(11);
    assert_eq!(world.ask(Mode::On, "/strict", "", 503, "", ""), Got::Passed);
}

#[tokio::test]
async fn one_fetches_and_the_others_wait_for_it() {
    let world = World::new();
    let fields = list("");
    let asked = Asked { tenant: "alpha", mode: Mode::On, secure: true, host: "shop.example", target: "/", method: "GET", fields: &fields };
    let Look::Fetch(task) = world.cache.look(&asked, false, false, world.now) else { panic!("nothing is kept") };
    let Look::Wait(first) = world.cache.look(&asked, false, false, world.now) else { panic!("somebody fetches") };
    let Look::Wait(second) = world.cache.look(&asked, false, false, world.now) else { panic!("somebody fetches") };
    assert!(matches!(world.cache.look(&asked, false, true, world.now), Look::Fetch(_)), "who waited in vain asks for himself");
    let waiting = tokio::spawn(first.wait());
    tokio::task::yield_now().await;
    drop(task);
    assert!(waiting.await.unwrap() && second.wait().await, "the end of the fetch is told, also to who waits only then");
    let Look::Fetch(task) = world.cache.look(&asked, false, false, world.now) else { panic!("the next one fetches") };
    let Answered::Passes = task.answered(&asked, 200, &list("Set-Cookie: a=b"), world.now) else { panic!("not kept") };
    assert!(matches!(world.cache.look(&asked, false, false, world.now), Look::Pass), "nobody waits for what is not kept");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_twice_for_what_takes_long() {
    let world = World::new();
    let fields = list("");
    let asked = Asked { tenant: "alpha", mode: Mode::On, secure: true, host: "shop.example", target: "/", method: "GET", fields: &fields };
    let Look::Fetch(task) = world.cache.look(&asked, false, false, world.now) else { panic!("nothing is kept") };
    let Look::Wait(waiter) = world.cache.look(&asked, false, false, world.now) else { panic!("somebody fetches") };
    assert!(!waiter.wait().await, "patience ends");
    assert!(matches!(world.cache.look(&asked, false, false, world.now), Look::Pass), "the next one asks for himself at once");
    let Answered::Keep(keeping) = task.answered(&asked, 200, &list("Cache-Control: max-age=60"), world.now) else { panic!("it may be kept") };
    keeping.finish();
    assert_eq!(world.get("/", "", "", ""), Got::Hit(String::new()), "once it is there, it is served");
}

#[test]
fn purges_reach_what_they_name_and_what_is_on_its_way() {
    let world = World::new();
    let told = |tag: &str| format!("Cache-Control: max-age=60\nCache-Tag: all, {tag}");
    for (target, tag) in [("/1", "post-1"), ("/2", "post-2"), ("/3", "post-3")] {
        assert_eq!(world.get(target, "", &told(tag), target), Got::Kept);
    }
    world.cache.purge("alpha", &Purge::Tag("post-1".into()));
    world.cache.purge("alpha", &Purge::At { host: "shop.example".into(), target: "/2".into() });
    world.cache.purge("beta", &Purge::All);
    assert_eq!(world.get("/3", "", "", ""), Got::Hit("/3".into()));
    assert_eq!(world.get("/1", "", &told("post-1"), ""), Got::Kept);
    assert_eq!(world.get("/2", "", &told("post-2"), ""), Got::Kept);
    let fields = list("");
    let asked = Asked { tenant: "alpha", mode: Mode::On, secure: true, host: "shop.example", target: "/4", method: "GET", fields: &fields };
    let Look::Fetch(task) = world.cache.look(&asked, false, false, world.now) else { panic!("nothing is kept") };
    let Answered::Keep(keeping) = task.answered(&asked, 200, &list("Cache-Control: max-age=60"), world.now) else { panic!("it may be kept") };
    world.cache.purge("alpha", &Purge::Tag("all".into()));
    keeping.finish();
    for target in ["/1", "/2", "/3", "/4"] {
        assert!(!matches!(world.get(target, "", "Cache-Control: no-store", ""), Got::Hit(_)), "{target}");
    }
    world.cache.clear();
    assert_eq!(world.cache.octets(), 0);
}

#[test]
fn the_whole_is_bounded_and_who_has_most_loses_first() {
    let world = World::new();
    let (fields, told) = (list(""), list("Cache-Control: max-age=60"));
    let keep = |tenant: &str, number: usize| {
        let target = format!("/{number}");
        let asked = Asked { tenant, mode: Mode::On, secure: true, host: "shop.example", target: &target, method: "GET", fields: &fields };
        match world.cache.look(&asked, false, false, world.now) {
            Look::Serve(_) => return true,
            Look::Fetch(task) => {
                let Answered::Keep(mut keeping) = task.answered(&asked, 200, &told, world.now) else { panic!("it may be kept") };
                assert!(keeping.push(&[b'x'; 8192]));
                keeping.finish();
            }
            _ => panic!("nothing else happens"),
        }
        false
    };
    for number in 0..5 {
        keep("small", number);
    }
    for number in 0..1000 {
        keep("large", number);
        assert!(world.cache.octets() <= 1 << 20, "{}", world.cache.octets());
    }
    assert!((0..5).all(|number| keep("small", number)), "the small tenant kept what it had");
    assert!(keep("large", 999) && !keep("large", 0), "the large one what it used last");
    let asked = Asked { tenant: "large", mode: Mode::On, secure: true, host: "shop.example", target: "/huge", method: "GET", fields: &fields };
    let Look::Fetch(task) = world.cache.look(&asked, false, false, world.now) else { panic!("nothing is kept") };
    let Answered::Keep(mut keeping) = task.answered(&asked, 200, &told, world.now) else { panic!("it may be kept") };
    assert!(!keeping.push(&vec![b'x'; 1 << 17]), "more than one answer may take");
}

proptest! {
    #[test]
    fn levels_fill_the_room(amounts in prop::collection::vec(0_u64..1000, 0..50), room in 0_u64..20_000) {
        let level = room::level(amounts.clone(), room);
        let cut: u64 = amounts.iter().map(|&amount| amount.min(level)).sum();
        prop_assert!(cut <= room);
        // Nobody is cut by more than the division leaves over.
        let all: u64 = amounts.iter().sum();
        prop_assert!(all <= room || cut + amounts.len() as u64 >= room);
    }

    #[test]
    fn any_fields_are_read_and_what_forbids_is_heard(text in "[ -~]{0,60}", value in "[ -~]{0,30}") {
        let world = World::new();
        let told = format!("Cache-Control: {text}\nCache-Control: no-store\nVary: {value}\nETag: {value}");
        prop_assert_eq!(world.get("/", &format!("Accept: {value}"), &told, ""), Got::Passed);
        prop_assert_ne!(world.get("/", &format!("If-None-Match: {text}\nCache-Control: {value}"), &told, ""), Got::Hit(String::new()));
    }
}
