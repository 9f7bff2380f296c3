//! Folders on a real file system.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::support::name;
use crate::{Files as _, Folders};

fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
}

#[tokio::test]
async fn settings_are_replaced_as_a_whole_and_untouched_where_they_stand() {
    let state = tempfile::tempdir().unwrap();
    let owner = std::fs::metadata(state.path()).unwrap().uid();
    let folders = Folders::new(state.path());
    let (cell, tenant) = (name("a"), name("alpha"));
    folders.write_settings(&cell, &tenant, &files(&[("settings.php", "1"), ("more/x.json", "{}")]), owner).await.unwrap();
    let file = state.path().join("cells/a/settings/alpha/settings.php");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400);
    let inode = std::fs::metadata(&file).unwrap().ino();
    folders.write_settings(&cell, &tenant, &files(&[("settings.php", "1")]), owner).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().ino(), inode, "what stands is not written again");
    assert!(!state.path().join("cells/a/settings/alpha/more").exists());
    folders.write_settings(&cell, &tenant, &files(&[("settings.php", "2")]), owner).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "2");
    let escape = folders.write_settings(&cell, &tenant, &files(&[("../x", "2")]), owner).await;
    assert_eq!(escape.unwrap_err().reason, "SettingsFailed");
    for _ in 0..2 {
        folders.remove_settings(&cell, &tenant).await.unwrap();
    }
    assert!(!file.exists());
}

#[tokio::test]
async fn a_removed_folder_takes_no_link_target_along() {
    let state = tempfile::tempdir().unwrap();
    let owner = std::fs::metadata(state.path()).unwrap().uid();
    let folders = Folders::new(state.path());
    let kept = state.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    std::fs::write(kept.join("file"), "x").unwrap();
    folders.make_tenant(&name("a"), &name("alpha"), owner).await.unwrap();
    std::os::unix::fs::symlink(&kept, state.path().join("cells/a/files/alpha/link")).unwrap();
    folders.remove_tenant(&name("a"), &name("alpha")).await.unwrap();
    folders.remove_cell(&name("a")).await.unwrap();
    assert!(kept.join("file").exists() && !state.path().join("cells/a").exists());
}
