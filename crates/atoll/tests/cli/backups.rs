//! Copies of control's store, made from the running one and brought back while it is stopped.

use crate::house::SITE;
use crate::real::{Real, Said, mode};

const LATE: &str = "apiVersion: atoll.dev/v1alpha1\nkind: Tenant\nmetadata: { name: late }\n\
                    spec: { blueprint: wordpress, domains: [late.localhost], contact: l@late.example }\n";

#[tokio::test]
async fn a_copy_is_made_while_control_runs_and_comes_back_while_it_is_stopped() {
    let mut real = Real::start().await;
    let (site, late, copy) = (real.file("site.yaml", SITE), real.file("late.yaml", LATE), real.path("copy.db").display().to_string());
    real.json(&["apply", "--yes", "--no-wait", "-f", &site]).await;
    let made = real.json(&["backup", &copy]).await;
    assert!(made["documents"].as_u64().unwrap() >= 5 && made["takenAt"].is_string(), "{made}");
    assert_eq!(mode(&real.path("copy.db")), 0o600);
    assert_eq!(std::fs::read_dir(real.state("control/copies")).unwrap().count(), 0, "control keeps no copy of its own");
    let before = std::fs::read(&copy).unwrap();
    real.run(&["backup", &copy]).await.refused(3, "A0914", "exists");
    assert!(std::fs::read(&copy).unwrap() == before, "a copy is never overwritten");

    real.json(&["apply", "--yes", "--no-wait", "-f", &late]).await;
    real.run(&["restore", "--yes", &copy]).await.refused(3, "A0915", "docker stop atoll-control");
    assert_eq!(real.json(&["tenant", "list"]).await.as_array().unwrap().len(), 2);
    real.stop_control().await;
    real.run(&["backup", &real.path("other.db").display().to_string()]).await.refused(4, "A0901", "");
    real.run(&["restore", &copy]).await.refused(2, "A0905", "");
    let restored = real.json(&["restore", "--yes", &copy]).await;
    let kept = restored["kept"].as_str().unwrap().to_owned();
    assert!(std::path::Path::new(&kept).exists(), "what stood there is kept");
    real.start_control().await;
    let tenants = real.json(&["tenant", "list"]).await;
    assert_eq!((tenants.as_array().unwrap().len(), &tenants[0]["metadata"]["name"]), (1, &"alpha".into()), "as of the copy");
    // And back again: what was kept is a copy like any other.
    real.stop_control().await;
    real.json(&["restore", "--yes", &kept]).await;
    real.start_control().await;
    assert_eq!(real.json(&["tenant", "list"]).await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_no_good_copy_is_refused_and_the_store_stays() {
    let mut real = Real::start().await;
    let (site, copy) = (real.file("site.yaml", SITE), real.path("copy.db"));
    real.json(&["apply", "--yes", "--no-wait", "-f", &site]).await;
    real.json(&["backup", &copy.display().to_string()]).await;
    real.stop_control().await;
    let store = std::fs::read(real.state("control/store.db")).unwrap();
    let good = std::fs::read(&copy).unwrap();
    let write = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(real.path(name), bytes).unwrap();
        real.path(name).display().to_string()
    };
    // Bytes 60 to 63 of SQLite's header are the format of a store.
    let newer = write("newer.db", &|bytes| bytes[60..64].copy_from_slice(&99_i32.to_be_bytes()));
    let half = write("half.db", &|bytes| bytes.truncate(bytes.len() / 2));
    let text = write("text.db", &|bytes| *bytes = b"not a store".to_vec());
    real.run(&["restore", "--yes", &newer]).await.refused(3, "A0914", "format 99");
    real.run(&["restore", "--yes", &half]).await.refused(3, "A0914", "damaged");
    real.run(&["restore", "--yes", &text]).await.refused(3, "A0914", "damaged");
    real.run(&["restore", "--yes", "/nonexistent"]).await.refused(1, "A0908", "No such file");
    let other = Real::stopped();
    std::fs::write(other.state("platform.json"), std::fs::read_to_string(other.state("platform.json")).unwrap().replace("atoll", "second")).unwrap();
    other.run(&["restore", "--yes", &copy.display().to_string()]).await.refused(3, "A0909", "platform atoll");
    assert!(!other.state("control/store.db").exists());
    assert!(std::fs::read(real.state("control/store.db")).unwrap() == store, "the store is as it was");
    let names = std::fs::read_dir(real.state("control")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name.contains("before-") || name.contains("restored")).collect();
    assert!(left.is_empty(), "nothing half-made is left: {left:?}");
}

/// A disk that fills up in the middle: a file may grow no further than one block here, which fails the same write.
#[tokio::test]
async fn a_copy_that_does_not_fit_leaves_nothing() {
    let real = Real::start().await;
    let copy = real.path("copy.db");
    let command = real.command(&["backup", &copy.display().to_string()]).into_std();
    let program = command.get_program().to_owned();
    let mut bounded = std::process::Command::new("bash");
    bounded.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]).arg(program).args(command.get_args()).env_clear().env("USER", "ann");
    let said = Said::of(tokio::process::Command::from(bounded).output().await.unwrap());
    said.refused(1, "A0908", "cannot be written");
    let names: Vec<_> = std::fs::read_dir(copy.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("copy.db")), "{names:?}");
}
