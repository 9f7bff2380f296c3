//! Operators elsewhere: the API over TLS with a token, from the real control to the real command line.

use serde_json::Value;

use crate::house::SITE;
use crate::real::{Real, free_port, mode};

fn platform(api: &str) -> String {
    format!("apiVersion: atoll.dev/v1alpha1\nkind: Platform\nmetadata: {{ name: atoll }}\nspec: {{ public: {{ port: 8080 }}{api} }}\n")
}

#[tokio::test]
async fn an_operator_elsewhere_gets_in_by_certificate_and_token_and_is_written_down() {
    let real = Real::start().await;
    let (site, port) = (real.file("site.yaml", SITE), free_port());
    let (with, without) = (real.file("with.yaml", &platform(&format!(", api: {{ port: {port} }}"))), real.file("without.yaml", &platform("")));
    let url = format!("https://127.0.0.1:{port}");
    let there = |arguments: &[&str]| {
        let all: Vec<String> = ["--control", &url].iter().chain(arguments).map(|a| (*a).to_owned()).collect();
        let real = &real;
        async move { real.run(&all.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };

    assert!(!real.state("operators").exists(), "off unless the Platform asks for it");
    there(&["status"]).await.refused(3, "A0916", "holds no token");

    real.json(&["apply", "--yes", "--no-wait", "-f", &with]).await;
    real.until("the API is served elsewhere", async || there(&["status"]).await.status == 0).await;
    assert_eq!((mode(&real.state("operators")), mode(&real.state("operators/admin"))), (0o700, 0o700));
    assert_eq!(mode(&real.state("operators/admin/token")), 0o600);
    assert_eq!(mode(&real.state("operators/admin/identity.pem")), 0o600);

    let applied = there(&["apply", "--yes", "--no-wait", "-f", &site]).await;
    assert_eq!(applied.status, 0, "{applied:?}");
    // The site's own Platform does not want the API elsewhere: the door closes under whoever asked for it.
    real.until("the door is closed", async || there(&["status"]).await.status == 4).await;
    there(&["status"]).await.refused(4, "A0901", "control does not answer at https://127.0.0.1");
    let asked = |answer: &Value| answer["metadata"]["askedBy"].as_str().unwrap_or_default().to_owned();
    assert_eq!(asked(&real.json(&["tenant", "show", "alpha"]).await), "cli:ann@operator:admin");
    let uid = rustix::process::getuid().as_raw();
    real.json(&["tenant", "suspend", "alpha", "--no-wait"]).await;
    assert_eq!(asked(&real.json(&["tenant", "show", "alpha"]).await), format!("cli:ann@uid:{uid}"));
    // What control begins for it says for whom.
    let opening = async || real.json(&["operation", "list"]).await.as_array().unwrap().iter().find(|o| o["spec"]["verb"] == "CellOpen").cloned();
    real.until("control opens the cell", async || opening().await.is_some()).await;
    let operation = opening().await.unwrap();
    assert_eq!(operation["spec"]["requestedBy"], "cli:ann@operator:admin");
    let name = operation["metadata"]["name"].as_str().unwrap();
    assert!(real.run(&["operation", "show", name]).await.stdout.contains("cli:ann@operator:admin"));

    real.json(&["apply", "--yes", "--no-wait", "-f", &with]).await;
    real.until("the API is served again", async || there(&["status"]).await.status == 0).await;
    // A copy with another token, one that others may read, and none: the first is refused by control, the others are not even sent.
    let token = real.state("operators/admin/token");
    let good = std::fs::read_to_string(&token).unwrap();
    std::fs::write(&token, good.replace(char::is_alphanumeric, "x")).unwrap();
    assert_eq!(there(&["status"]).await.status, 0, "the token is what its file says, also on control's side");
    std::fs::create_dir(real.path("copy")).unwrap();
    for file in ["ca.pem", "identity.pem", "token"] {
        std::fs::copy(real.state("operators/admin").join(file), real.path("copy").join(file)).unwrap();
    }
    let copy = real.path("copy").display().to_string();
    assert_eq!(there(&["--credentials", &copy, "status"]).await.status, 0);
    std::fs::write(&token, &good).unwrap();
    there(&["--credentials", &copy, "status"]).await.refused(3, "A0218", "token");
    // Whoever takes the folder away takes the right away.
    std::fs::remove_dir_all(real.state("operators/admin")).unwrap();
    std::fs::write(real.path("copy/token"), &good).unwrap();
    there(&["--credentials", &copy, "status"]).await.refused(3, "A0218", "token");

    for here in [&["up", "-f", &with][..], &["down"], &["restore", "x"]] {
        there(&[&["--credentials", &copy][..], here].concat()).await.refused(2, "A0913", "own machine");
    }
    real.json(&["apply", "--yes", "--no-wait", "-f", &without]).await;
}
