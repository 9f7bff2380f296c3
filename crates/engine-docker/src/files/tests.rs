#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what they expect by failing")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use model::CellName;

use super::{SecretFolder, check_secret_path};

#[test]
fn secrets_are_private_replaced_whole_and_pruned() {
    let state = tempfile::tempdir().unwrap();
    let user = fs::metadata(state.path()).unwrap().uid();
    let folder = SecretFolder::of_service(state.path(), &CellName::new("a").unwrap(), "php");
    let files = [("/atoll/secrets/one", "1"), ("/atoll/secrets/two", "2"), ("/atoll/other/three", "3")];
    folder.write(&files, user).unwrap();
    let mounts = folder.mounts(files.iter().map(|(path, _)| *path));
    assert_eq!(mounts.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(), ["/atoll/other", "/atoll/secrets"]);
    let one = mounts[1].host.join("one");
    assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o400);
    let before = fs::metadata(&one).unwrap().ino();
    folder.write(&files, user).unwrap();
    assert_eq!(fs::metadata(&one).unwrap().ino(), before, "the same content writes nothing");
    folder.write(&[("/atoll/secrets/one", "changed")], user).unwrap();
    assert_eq!(fs::read_to_string(&one).unwrap(), "changed");
    folder.prune(&["/atoll/secrets/one"]).unwrap();
    assert!(one.exists() && !mounts[1].host.join("two").exists() && !mounts[0].host.exists());
    folder.remove().unwrap();
    folder.remove().unwrap();
}

#[test]
fn odd_secret_paths_are_refused() {
    for good in ["/atoll/secrets/key", "/a/b"] {
        check_secret_path(good).unwrap();
    }
    for bad in ["key", "/key", "/a/../b", "/a//b", "/a/b/", "/a/b c", "/a+b/c"] {
        check_secret_path(bad).unwrap_err();
    }
}
