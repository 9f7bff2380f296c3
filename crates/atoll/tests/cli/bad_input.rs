//! Bad input, word by word: each is refused with its code and something to do, or told as a state that is not as wanted, and nothing half-made is left.
//! `docs/bad-input.md` says where the words stand that need a real engine or a database.

use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::daemon::{Daemon, Says};
use crate::house::House;
use crate::real::{Real, Said, free_port};

/// One mistake: what is typed or written, and how it must end.
struct Case {
    word: &'static str,
    wrong: Wrong,
    status: i32,
    code: &'static str,
    words: &'static str,
}

enum Wrong {
    /// A file that is applied.
    File(String),
    /// A command.
    Command(&'static [&'static str]),
}

const fn case(word: &'static str, wrong: Wrong, status: i32, code: &'static str, words: &'static str) -> Case {
    Case { word, wrong, status, code, words }
}

fn tenant(name: &str, domains: &str) -> Wrong {
    tenant_of("wordpress", name, domains)
}

fn tenant_of(blueprint: &str, name: &str, domains: &str) -> Wrong {
    Wrong::File(tenant_text(blueprint, name, domains))
}

fn tenant_text(blueprint: &str, name: &str, domains: &str) -> String {
    format!(
        "apiVersion: atoll.dev/v1alpha1\nkind: Tenant\nmetadata: {{ name: {name} }}\nspec: {{ blueprint: {blueprint}, domains: [{domains}], contact: a@b.example }}\n"
    )
}

/// A blueprint with one mistake: `field` replaces a part of a sound one.
fn blueprint(from: &str, to: &str) -> Wrong {
    let sound = r#"apiVersion: atoll.dev/v1alpha1
kind: Blueprint
metadata: { name: wordpress, version: 2026.12.1 }
spec:
  capacity: { tenants: 10 }
  services:
    web: { image: "localhost/atoll/web:1", user: 1002, port: 8080, entry: true, settings: true, replicas: { min: 2, max: 4 } }
  tenant:
    settings: [{ path: site.json, template: "{{ tenant.name }}" }]
"#;
    assert!(sound.contains(from), "{from}");
    Wrong::File(sound.replace(from, to))
}

fn platform(spec: &str) -> Wrong {
    Wrong::File(format!("apiVersion: atoll.dev/v1alpha1\nkind: Platform\nmetadata: {{ name: atoll }}\nspec: {{ {spec} }}\n"))
}

fn cases() -> Vec<Case> {
    let add = |domain: &'static str| -> &'static [&'static str] {
        match domain {
            "taken" => &["tenant", "add", "beta", "--domain", "alpha.localhost", "--contact", "a@b.example", "--no-wait"],
            "upper" => &["tenant", "add", "beta", "--domain", "ALPHA.LocalHost.", "--contact", "a@b.example", "--no-wait"],
            "name" => &["tenant", "add", "alpha", "--domain", "other.localhost", "--contact", "a@b.example", "--no-wait"],
            _ => &["tenant", "add", "beta", "--domain", "b.localhost", "--contact", "a@b.example", "--blueprint", "shop", "--no-wait"],
        }
    };
    vec![
        case("duplicate domain: of one tenant, in two spellings", tenant("beta", "beta.localhost, BETA.localhost."), 3, "A0340", "beta.localhost"),
        case("duplicate domain: of another tenant", Wrong::Command(add("taken")), 3, "A0341", "alpha.localhost"),
        case("uppercase host: the same name in another spelling", Wrong::Command(add("upper")), 3, "A0341", "alpha.localhost"),
        case(
            "IDN: the same name in another spelling",
            Wrong::File(tenant_text("wordpress", "one", "bücher.example") + "---\n" + &tenant_text("wordpress", "two", "XN--BCHER-KVA.example")),
            3,
            "A0341",
            "xn--bcher-kva.example",
        ),
        case("IDN: not a name", tenant("beta", "xn--zzzzzzzz.example"), 3, "A0105", "xn--zzzzzzzz.example"),
        case("wrong syntax: a space", tenant("beta", "\"foo bar.example\""), 3, "A0105", "foo bar.example"),
        case("wrong syntax: an empty label", tenant("beta", "a..example"), 3, "A0105", "a..example"),
        case("wrong syntax: an address", tenant("beta", "127.0.0.1"), 3, "A0105", "127.0.0.1"),
        case("wrong syntax: a port", tenant("beta", "\"a.example:80\""), 3, "A0105", "a.example:80"),
        case("unknown blueprint: in a file", tenant_of("shop", "beta", "beta.localhost"), 3, "A0306", "shop"),
        case("unknown blueprint: of a command", Wrong::Command(add("shop")), 3, "A0306", "shop"),
        case("capacity 0", blueprint("tenants: 10", "tenants: 0"), 3, "A0320", "0"),
        case(
            "two tenants claim a name: in files",
            Wrong::File(tenant_text("wordpress", "beta", "b.localhost") + "---\n" + &tenant_text("wordpress", "beta", "c.localhost")),
            3,
            "A0107",
            "beta",
        ),
        case("two tenants claim a name: it stands already", Wrong::Command(add("name")), 3, "A0204", "alpha"),
        case("invalid template: it does not end", blueprint("{{ tenant.name }}", "{{ tenant.name"), 3, "A0330", "site.json"),
        case("invalid template: of what nobody gives", blueprint("{{ tenant.name }}", "{{ tenant.shoe_size }}"), 3, "A0330", "site.json"),
        case("invalid template: out of its folder", blueprint("path: site.json", "path: ../site.json"), 3, "A0331", "../site.json"),
        case("an image that cannot be", blueprint("localhost/atoll/web:1", "Not An Image"), 3, "A0325", "Not An Image"),
        case("an image without a version", blueprint("localhost/atoll/web:1", "localhost/atoll/web"), 3, "A0325", "localhost/atoll/web"),
        case("a port that instances cannot have", blueprint("port: 8080", "port: 80"), 3, "A0323", "80"),
        case("a pool that is not private", platform("network: { pool: 8.8.0.0/16 }"), 3, "A0309", "8.8.0.0/16"),
        case("the API on the edge's port", platform("api: { port: 8080 }"), 3, "A0314", "8080"),
        case(
            "a balancer's network that is none",
            platform("public: { behind: { proxies: [10.0.0/8] } }"),
            3,
            "A0105",
            "\"10.0.0/8\" is not a network such as",
        ),
        case("a balancer's network with more than a network", platform("public: { behind: { proxies: [10.0.0.7/8] } }"), 3, "A0105", "10.0.0.7/8"),
        case("everybody is a balancer", platform("public: { behind: { proxies: [0.0.0.0/0] } }"), 3, "A0315", "0.0.0.0/0"),
        case("a cell is a balancer", platform("public: { behind: { proxies: [10.0.0.0/8] } }"), 3, "A0315", "10.0.0.0/8"),
        case("the API on a port of the system", platform("api: { port: 443 }"), 3, "A0314", "443"),
    ]
}

#[tokio::test]
async fn each_mistake_is_refused_with_its_code_and_writes_nothing() {
    let house = House::with_site().await;
    let head = house.store.head();
    let mut wrong = Vec::new();
    for case in cases() {
        let file = match &case.wrong {
            Wrong::File(text) => Some(house.file("wrong.yaml", text)),
            Wrong::Command(_) => None,
        };
        let typed: Vec<&str> = match (&case.wrong, &file) {
            (Wrong::Command(typed), _) => typed.to_vec(),
            (_, file) => vec!["apply", "--yes", "--no-wait", "-f", file.as_deref().unwrap_or_default()],
        };
        let said = Said::of(house.command(&typed).output().await.unwrap());
        let told = said.stderr.contains(case.code) && said.stderr.contains(case.words);
        let helps = said.stderr.contains("hint: ") || said.stderr.contains("next: ");
        if said.status != case.status || !told || !helps || house.store.head() != head {
            wrong.push(format!("=== {}: wanted {} {} {:?}\n{said:#?}\n", case.word, case.status, case.code, case.words));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn hosts_are_kept_in_one_spelling() {
    let house = House::with_site().await;
    let file = house.file("idn.yaml", &tenant_text("wordpress", "beta", "Bücher.Example, WWW.beta.localhost."));
    house.ok(&["apply", "--yes", "--no-wait", "-f", &file]).await;
    let spec = house.spec(model::Kind::Tenant, "beta").await.unwrap();
    assert_eq!(spec["domains"], json!(["xn--bcher-kva.example", "www.beta.localhost"]));
    let head = house.store.head();
    house.ok(&["apply", "--yes", "--no-wait", "-f", &file]).await;
    assert_eq!(house.store.head(), head, "another spelling of what stands is no change");
}

/// Runs a command against a daemon that is, or is not, behind a socket.
async fn with_docker(real: &Real, socket: &std::path::Path, arguments: &[&str]) -> Said {
    let host = format!("unix://{}", socket.display());
    Said::of(real.command(arguments).env("DOCKER_HOST", host).output().await.unwrap())
}

#[tokio::test]
async fn a_docker_that_is_missing_stopped_or_too_old_is_told_before_anything_is_made() {
    let real = Real::bare();
    let file = real.file("site.yaml", crate::house::SITE);
    let up = ["up", "--no-wait", "-f", &file];
    with_docker(&real, &real.path("missing.sock"), &up).await.refused(1, "A0908", "no Docker engine is found");
    let stopped = real.path("stopped.sock");
    drop(UnixListener::bind(&stopped).unwrap());
    with_docker(&real, &stopped, &up).await.refused(1, "A0908", "does not answer");
    let old = Daemon::start(Says { version: "19.03.15", ..Says::default() });
    with_docker(&real, &old.socket(), &up).await.refused(1, "A0908", "version 19.03.15, which is too old");
    let imageless = Daemon::start(Says { image: "localhost/other:1", ..Says::default() });
    with_docker(&real, &imageless.socket(), &up).await.refused(1, "A0908", "scripts/images atoll");
    for daemon in [&old, &imageless] {
        assert_eq!(daemon.changes(), Vec::<String>::new());
    }
    assert!(!real.state("").exists(), "no state folder was made");
    for (socket, words) in [(real.path("missing.sock"), "does not answer"), (old.socket(), "version 19.03.15 is too old")] {
        let doctor = with_docker(&real, &socket, &["doctor"]).await;
        assert!(doctor.status == 1 && doctor.stdout.contains(words), "{doctor:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_anything_is_made() {
    let real = Real::bare();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let file = real.file("site.yaml", &crate::house::SITE.replace("port: 8080 }", &format!("port: {port} }}")));
    let daemon = Daemon::start(Says::default());
    with_docker(&real, &daemon.socket(), &["up", "--no-wait", "-f", &file]).await.refused(1, "A0908", &format!("port {port} is taken"));
    assert_eq!(daemon.changes(), Vec::<String>::new());
    assert!(!real.state("").exists(), "no state folder was made");
    let doctor = with_docker(&real, &daemon.socket(), &["doctor", "-f", &file]).await;
    assert!(doctor.status == 1 && doctor.stdout.contains(&format!("127.0.0.1:{port} cannot be used")), "{doctor:?}");
}

#[tokio::test]
async fn a_subnet_clash_with_the_host_is_told_by_the_doctor() {
    let real = Real::bare();
    let daemon = Daemon::start(Says { network: "10.91.3.0/24", ..Says::default() });
    let doctor = with_docker(&real, &daemon.socket(), &["doctor"]).await;
    assert!(doctor.status == 1 && doctor.stdout.contains("network shop of Docker (10.91.3.0/24) lies in the pool 10.91.0.0/16"), "{doctor:?}");
    let other = real
        .file("pool.yaml", "apiVersion: atoll.dev/v1alpha1\nkind: Platform\nmetadata: { name: atoll }\nspec: { network: { pool: 10.200.0.0/16 } }\n");
    let doctor = with_docker(&real, &daemon.socket(), &["doctor", "-f", &other]).await;
    assert!(doctor.stdout.contains("10.200.0.0/16 is free"), "{doctor:?}");
}

#[tokio::test]
async fn a_state_folder_of_a_newer_release_is_refused_and_left_as_it_is() {
    let real = Real::stopped();
    let file = real.file("site.yaml", crate::house::SITE);
    let daemon = Daemon::start(Says::default());
    let up = ["up", "--no-wait", "-f", &file];
    let newer = std::fs::read_to_string(real.state("platform.json")).unwrap().replace("\"format\":1", "\"format\":99");
    std::fs::write(real.state("platform.json"), &newer).unwrap();
    with_docker(&real, &daemon.socket(), &up).await.refused(1, "A0908", "has format 99, this release knows 1");
    with_docker(&real, &daemon.socket(), &["down"]).await.refused(1, "A0908", "has format 99");
    let doctor = with_docker(&real, &daemon.socket(), &["doctor"]).await;
    assert!(doctor.status == 1 && doctor.stdout.contains("has format 99"), "{doctor:?}");
    let control = real.run(&["control", "--docker", "/nonexistent/docker.sock"]).await;
    assert!(control.status == 1 && control.stderr.contains("has format 99"), "{control:?}");
    assert_eq!(std::fs::read_to_string(real.state("platform.json")).unwrap(), newer);
    assert_eq!(std::fs::read_dir(real.state("")).unwrap().count(), 2, "platform.json and control");

    // The same of the store alone: whoever starts control with it, and whoever looks for the Platform in it, is told.
    let mut real = Real::start().await;
    real.stop_control().await;
    let path = real.state("control/store.db");
    let mut store = std::fs::read(&path).unwrap();
    store[60..64].copy_from_slice(&99_i32.to_be_bytes());
    std::fs::write(&path, &store).unwrap();
    let control = real.run(&["control", "--docker", "/nonexistent/docker.sock"]).await;
    assert!(control.status == 1 && control.stderr.contains("has format 99"), "{control:?}");
    let tenant = real.file("tenant.yaml", &tenant_text("wordpress", "beta", "beta.localhost"));
    with_docker(&real, &daemon.socket(), &["up", "--no-wait", "-f", &tenant]).await.refused(1, "A0908", "has format 99");
    assert!(std::fs::read(&path).unwrap() == store, "it is as it was");
    assert_eq!(daemon.changes(), Vec::<String>::new());
}

/// What was applied once stays wanted, also where control is down and the files name no Platform.
#[tokio::test]
async fn up_without_a_platform_keeps_the_one_that_was_applied() {
    let mut real = Real::start().await;
    let text = format!(
        "apiVersion: atoll.dev/v1alpha1\nkind: Platform\nmetadata: {{ name: atoll }}\nspec: {{ public: {{ port: {} }}, images: {{ atoll: \"localhost/our/own:7\" }} }}\n",
        free_port()
    );
    let (platform, tenant) = (real.file("platform.yaml", &text), real.file("tenant.yaml", &tenant_text("wordpress", "beta", "beta.localhost")));
    real.json(&["apply", "--yes", "--no-wait", "-f", &platform]).await;
    let daemon = Daemon::start(Says::default());
    // The daemon has the default image, not this one: which is missed tells which Platform counts.
    let up = ["up", "--no-wait", "-f", &tenant];
    with_docker(&real, &daemon.socket(), &up).await.refused(1, "A0908", "image localhost/our/own:7 is not on this engine");
    real.stop_control().await;
    with_docker(&real, &daemon.socket(), &up).await.refused(1, "A0908", "image localhost/our/own:7 is not on this engine");
}

/// The page that says which test holds which word names only tests that there are.
#[test]
fn the_page_of_bad_input_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/bad-input.md")).unwrap();
    let quoted: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let named: Vec<(&str, &str)> = quoted.windows(2).filter(|pair| pair[0].starts_with("crates/")).map(|pair| (pair[0], pair[1])).collect();
    assert!(named.len() > 20, "{named:?}");
    for (file, test) in named {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
    }
}
