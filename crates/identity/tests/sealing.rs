//! Sealed secrets and the files of keys.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use identity::{IdentityError, Sealer, alphanumeric, token};
use model::Sensitive;

#[test]
fn opens_what_it_sealed_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control/master.key");
    let secret = Sensitive::new("hunter2 žluť".to_owned());
    let sealed = Sealer::create_or_open(&path).unwrap().seal("shop-db", &secret);
    assert!(!sealed.contains("hunter2"));
    let again = Sealer::existing(&path).unwrap();
    assert_eq!(again.open("shop-db", &sealed).unwrap().reveal(), secret.reveal());
    assert_ne!(again.seal("shop-db", &secret), sealed, "equal secrets do not look equal");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn another_name_key_or_text_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Sealer::create_or_open(&folder.path().join("a")).unwrap();
    let theirs = Sealer::create_or_open(&folder.path().join("b")).unwrap();
    let sealed = ours.seal("shop-db", &Sensitive::new("secret".to_owned()));
    assert!(matches!(ours.open("other-db", &sealed), Err(IdentityError::Sealed(name)) if name == "other-db"));
    assert!(theirs.open("shop-db", &sealed).is_err());
    for damaged in ["", "v1.", "v1.AAAA", &sealed[..sealed.len() - 4], &sealed.replacen("v1.", "v2.", 1), &sealed.replacen("v1.", "v1.A", 1)] {
        assert!(ours.open("shop-db", damaged).is_err(), "{damaged}");
    }
}

#[test]
fn a_key_open_to_others_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    Sealer::create_or_open(&path).unwrap();
    let before = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Sealer::create_or_open(&path), Err(IdentityError::Mode { mode: 0o640, .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_without_key_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    for content in ["", "v9.AAAA", "v1.c2hvcnQ"] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Sealer::create_or_open(&path), Err(IdentityError::Content { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    assert!(Sealer::existing(&folder.path().join("absent")).is_err());
}

#[test]
fn racing_starts_end_with_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let secret = Sensitive::new("x".to_owned());
    let sealed: Vec<String> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Sealer::create_or_open(&path).unwrap().seal("n", &secret))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let sealer = Sealer::existing(&path).unwrap();
    assert!(sealed.iter().all(|s| sealer.open("n", s).is_ok()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside");
}

#[test]
fn secrets_are_long_random_and_plain() {
    let passwords: BTreeSet<String> = (0..100).map(|_| alphanumeric(24).reveal().clone()).collect();
    assert_eq!(passwords.len(), 100);
    assert!(passwords.iter().all(|p| p.len() == 24 && p.bytes().all(|b| b.is_ascii_alphanumeric())));
    assert_eq!(token(32).reveal().len(), 43);
    assert_eq!(format!("{:?} {}", token(32), token(32)), "*** ***");
}
