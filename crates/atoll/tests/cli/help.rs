//! What `--help` says, what completes, and what a wrong call is told.

use crate::house::House;

/// Every command; a new one must be added here to be documented.
const COMMANDS: [&str; 32] = [
    "",
    "up",
    "down",
    "doctor",
    "plan",
    "apply",
    "status",
    "explain",
    "logs",
    "usage",
    "backup",
    "restore",
    "tenant",
    "tenant add",
    "tenant show",
    "tenant list",
    "tenant suspend",
    "tenant resume",
    "tenant remove",
    "cell",
    "cell open",
    "cell show",
    "cell list",
    "cell drain",
    "cell close",
    "operation",
    "operation list",
    "operation show",
    "operation follow",
    "operation cancel",
    "edge",
    "edge top",
];

#[tokio::test]
async fn every_command_has_help() {
    let house = House::open().await;
    let mut all = String::new();
    for command in COMMANDS {
        let arguments: Vec<&str> = command.split_whitespace().chain(["-h"]).collect();
        let text = house.ok(&arguments).await;
        // What holds for every command is shown once.
        let text = if command.is_empty() { text } else { text.split("Global options:").next().unwrap().to_owned() };
        all += &format!("=== atoll {command}\n{}\n\n", text.trim_end());
    }
    insta::assert_snapshot!("help", all);
    let listed = house.ok(&["-h"]).await;
    for hidden in ["control", "agent", "gate"] {
        assert!(!listed.contains(&format!("\n  {hidden} ")), "{hidden} is no command for people");
    }
}

#[tokio::test]
async fn shells_get_completions() {
    let house = House::open().await;
    for (shell, sign) in [("bash", "_atoll()"), ("zsh", "#compdef atoll"), ("fish", "complete -c atoll")] {
        assert!(house.ok(&["completions", shell]).await.contains(sign), "{shell}");
    }
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    let house = House::open().await;
    let calls: [&[&str]; 8] = [
        &[],
        &["statsu"],
        &["status", "--nonsense"],
        &["tenant", "add", "Nova", "--domain", "nova.example", "--contact", "a@b.example"],
        &["tenant", "add", "nova", "--contact", "a@b.example"],
        &["explain", "shop", "a"],
        &["logs", "cell-a", "--since", "yesterday"],
        &["plan", "-o", "xml", "-f", "x"],
    ];
    let mut all = String::new();
    for call in calls {
        let ended = house.run(call).await;
        assert_eq!(ended.status, 2, "{call:?}");
        assert!(ended.stdout.is_empty(), "{call:?}: messages belong to standard error");
        all += &format!("=== atoll {}\n{}\n", call.join(" "), ended.stderr);
    }
    insta::assert_snapshot!("usage", all);
}

#[tokio::test]
async fn without_control_the_status_is_4() {
    let folder = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.args(["--state".as_ref(), folder.path().as_os_str()]).args(arguments).env_clear();
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}");
        assert!(output.stdout.is_empty());
        crate::house::steady(&String::from_utf8_lossy(&output.stderr), &folder.path().display().to_string())
    };
    insta::assert_snapshot!("unreachable", run(&["status"]).await);
    insta::assert_snapshot!("unreachable-json", run(&["status", "-o", "json"]).await);
    // A control that died leaves its socket behind.
    std::fs::create_dir(folder.path().join("control")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("control/api.sock")).unwrap());
    insta::assert_snapshot!("unreachable-dead", run(&["cell", "list"]).await);
}
