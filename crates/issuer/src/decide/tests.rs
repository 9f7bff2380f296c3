#![allow(clippy::unwrap_used)]

use super::*;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

#[test]
fn only_names_of_the_public_tree_are_public() {
    for (domain, public) in [
        ("shop.example.com", true),
        ("a.localhost", false),
        ("localhost", false),
        ("notlocalhost.org", true),
        ("printer.home.arpa", false),
        ("tld", false),
        ("mylocal", false),
        ("my.local", false),
    ] {
        assert_eq!(is_public(domain), public, "{domain}");
    }
}

#[test]
fn pauses_grow_to_a_day_and_differ() {
    assert_eq!(pause(1, 0.5), SignedDuration::from_mins(5));
    assert_eq!(pause(4, 0.5), SignedDuration::from_mins(40));
    assert_eq!(pause(40, 0.5), SignedDuration::from_hours(24));
    assert!(pause(3, 0.0) < pause(3, 1.0));
    let hour: SignedDuration = (1..=4).map(|n| pause(n, 0.0)).fold(SignedDuration::ZERO, |a, b| a + b);
    assert!(hour > SignedDuration::from_mins(55), "four failures in an hour at most, five at the unluckiest: {hour:?}");
}

#[test]
fn renewal_follows_the_window_and_otherwise_two_thirds() {
    let (from, until) = (at(0), at(900));
    assert_eq!(renew_at(from, until, None, 0.0), at(600));
    assert!(renew_at(from, until, None, 1.0) <= at(646));
    let window = |start, end| Some(Window { start: at(start), end: at(end), ask_again: at(0) });
    assert_eq!(renew_at(from, until, window(300, 400), 0.5), at(350));
    assert_eq!(renew_at(from, until, window(-100, -50), 0.5), at(-75), "an authority that revokes wants it at once");
    assert_eq!(renew_at(from, until, window(5000, 6000), 0.5), at(810), "no window reaches beyond nine tenths");
}

#[test]
fn the_second_authority_steps_in_and_the_first_comes_back() {
    let limits = Limits { orders: 2, window: SignedDuration::from_mins(10) };
    let mut authorities = Authorities::new(2, limits);
    assert_eq!(authorities.choose(at(0), false), Some(0));
    authorities.ended(0, Some(Fault::Domain), at(0), 0.5);
    assert_eq!(authorities.choose(at(0), true), Some(0), "a domain's fault is not its authority's");
    authorities.ended(0, Some(Fault::Authority), at(0), 0.5);
    assert_eq!(authorities.choose(at(0), false), Some(1));
    assert_eq!(authorities.choose(at(1), false), Some(0), "after its pause");
    assert_eq!(authorities.choose(at(1), false), Some(1), "its limit is reached");
    assert_eq!(authorities.choose(at(1), false), None, "all limits are reached");
    assert_eq!(authorities.choose(at(1), true), Some(0), "replacements are not counted");
    assert_eq!(authorities.choose(at(10), false), Some(0), "the window moves on");
    authorities.ended(0, Some(Fault::Limited), at(10), 0.5);
    authorities.ended(1, Some(Fault::Limited), at(10), 0.5);
    assert_eq!(authorities.choose(at(11), true), None, "who says so is not asked at all");
    assert_eq!(authorities.choose(at(71), true), Some(0));
}

#[test]
fn why_nobody_may_be_asked_is_what_ails_the_preferred_one() {
    let mut authorities = Authorities::new(2, Limits { orders: 1, window: SignedDuration::from_mins(10) });
    authorities.ended(0, Some(Fault::Authority), at(0), 0.5);
    authorities.ended(1, Some(Fault::Limited), at(0), 0.5);
    assert_eq!((authorities.choose(at(0), false), authorities.why_none(at(0))), (None, Fault::Authority));
    assert_eq!(authorities.choose(at(2), false), Some(0));
    assert_eq!((authorities.choose(at(2), false), authorities.why_none(at(2))), (None, Fault::Limited), "what we asked already");
}
