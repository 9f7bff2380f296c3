#![expect(clippy::unwrap_used, reason = "tests")]

use model::Kind;
use model::v1alpha1::{Blueprint, Tenant};
use model::{Percent, Typed};
use proptest::prelude::*;

use crate::{codes, load, load_noted, parse, parse_noted, schema};

const BLUEPRINT: &str = r#"
apiVersion: atoll.dev/v1alpha1
kind: Blueprint
metadata: { name: wordpress, version: 2026.11.1 }
spec:
  capacity: { tenants: 200 }
  services:
    web:
      image: localhost/atoll/web:1
      user: 1002
      port: 8080
      entry: true
      ready: { check: { http: /healthz } }
      environment: { NO: "1" }
    php: { image: "localhost/atoll/php:1", user: 1001, port: 9000, ready: { check: { tcp: {} } }, writable: }
  tenant:
    settings: [ { path: settings.php, template: "<?php {{ tenant.name }}" } ]
"#;

const TENANT: &str = "
apiVersion: atoll.dev/v1alpha1
kind: Tenant
metadata:
  name: alpha
  labels: { team: a }
spec:
  blueprint: wordpress
  domains: [alpha.localhost, www.alpha.localhost]
  contact: a@alpha.example
";

/// `line:column code path` of each fault.
fn faults(text: &str) -> Vec<String> {
    let faults = parse("f.yaml", text).unwrap_err().0;
    faults.iter().map(|f| format!("{} {} {}", f.at.map(|at| at.to_string()).unwrap_or_default(), f.fault.code, f.path)).collect()
}

fn first(text: &str) -> String {
    parse("f.yaml", text).unwrap_err().0[0].to_string()
}

#[test]
fn documents_are_read_complete_and_in_order_of_application() {
    let documents = parse("f.yaml", &format!("{TENANT}---{BLUEPRINT}---\n# nothing\n---\n")).unwrap();
    assert_eq!(
        documents.iter().map(|d| (d.kind, d.metadata.name.as_str())).collect::<Vec<_>>(),
        [(Kind::Blueprint, "wordpress.2026.11.1"), (Kind::Tenant, "alpha")]
    );
    let blueprint = Typed::<Blueprint>::read(documents[0].clone()).unwrap();
    assert_eq!(blueprint.spec.capacity.open_next_at, Percent(80));
    assert_eq!(documents[0].spec["capacity"]["openNextAt"], "80%", "defaults are written out");
    let tenant = Typed::<Tenant>::read(documents[1].clone()).unwrap();
    assert!(documents[1].spec.get("state").is_none(), "what commands set stays as it is unless the file says otherwise");
    assert_eq!(parse("f.yaml", &TENANT.replace("  contact", "  state: Active\n  contact")).unwrap()[0].spec["state"], "Active");
    assert_eq!((tenant.spec.language.as_str(), tenant.metadata.labels["team"].as_str()), ("en", "a"));
}

#[test]
fn places_are_exact() {
    let unknown = TENANT.replace("  contact: a@alpha.example", "  contact: a@alpha.example\n  domians: [x]");
    assert_eq!(faults(&unknown), ["11:3 A0102 spec.domians"]);
    assert!(first(&unknown).contains("did you mean \"domains\"?"), "{}", first(&unknown));
    assert_eq!(faults(&TENANT.replace("www.alpha.localhost", "a_b.localhost")), ["9:30 A0105 spec.domains[1]"]);
    assert_eq!(faults(&TENANT.replace("contact: a@alpha.example", "contact: 12")), ["10:12 A0103 spec.contact"]);
    assert_eq!(faults(&TENANT.replace("  contact: a@alpha.example\n", "")), ["8:3 A0104 spec"]);
    assert_eq!(faults(&TENANT.replace("name: alpha", "name: Alpha")), ["5:9 A0105 "]);
    assert_eq!(faults(&TENANT.replace("kind: Tenant", "kind: Tennant")), ["3:7 A0108 "]);
    assert_eq!(faults(&BLUEPRINT.replace("tenants: 200", "tenants: -1")), ["6:24 A0105 spec.capacity.tenants"]);
    assert_eq!(faults(&TENANT.replace("    labels", "  labels").replace("  name: alpha", "  name: alpha\n  name: beta")), ["6:3 A0106 "]);
}

#[test]
fn many_mistakes_are_told_at_once() {
    let text = format!(
        "{}---{}",
        TENANT.replace("  blueprint: wordpress", "  blueprint: Word\n  titel: x\n  plan: 3"),
        TENANT.replace("kind: Tenant", "kind: Operation")
    );
    assert_eq!(faults(&text), ["8:14 A0105 spec.blueprint", "9:3 A0102 spec.titel", "10:9 A0103 spec.plan", "15:7 A0108 "]);
}

#[test]
fn messages_name_value_rule_and_hint() {
    for (text, wanted) in [
        (
            BLUEPRINT.replace("entry: true", "entry: yes"),
            "f.yaml:12:14: spec.services.web.entry: wanted is true or false, this is the text \"yes\" (A0103)\n  hint: write true or false",
        ),
        (BLUEPRINT.replace("port: 9000", "port: 90000"), "spec.services.php.port: 90000: wanted is a whole number from 0 to 65535 (A0105)"),
        (BLUEPRINT.replace("tenants: 200", "tenants: 200, open-next-at: 80%"), "hint: did you mean \"openNextAt\"?"),
        (
            BLUEPRINT.replace("tenants: 200", "tenants: 200, openNextAt: 80"),
            "wanted is a text, this is the number 80 (A0103)\n  hint: put it in quotes: \"80\"",
        ),
        (BLUEPRINT.replace("tenants: 200", "tenants: 200, openNextAt: 800%"), "\"800%\" is not a share such as 80%"),
        (BLUEPRINT.replace("version: 2026.11.1", "version: 2026.11"), "metadata.version: wanted is a text, this is the number 2026.11 (A0103)"),
        (BLUEPRINT.replace(", version: 2026.11.1", ""), "the field `version` is missing"),
        (
            BLUEPRINT.replace("check: { http: /healthz }", "check: { htp: /healthz }"),
            "\"htp\" is not one of the words allowed here (A0105)\n  hint: did you mean \"http\"?",
        ),
        (TENANT.replace("name: alpha", "name: alpha\n  version: 1.0.0"), "a Tenant has no version"),
        (TENANT.replace("alpha.localhost,", "10.0.0.1,"), "\"10.0.0.1\" is an address, not a domain"),
        (
            TENANT.replace("domains: [alpha.localhost, www.alpha.localhost]", "domains: alpha.localhost"),
            "wanted is a list, this is the text \"alpha.localhost\" (A0103)\n  hint: write a list: [alpha.localhost]",
        ),
        (TENANT.replace("kind: Tenant", "kind: Domain"), "a Domain is made by control, not by files"),
        (TENANT.replace("v1alpha1", "v1"), "unknown apiVersion"),
        (TENANT.replace("spec:", "replicas: 3\nspec:"), "unknown field \"replicas\""),
        (TENANT.replace("  name: alpha", "\tname: alpha"), "indent with spaces"),
        (TENANT.replace("contact: ", "contact: !secret "), "tag \"!secret\" is not taken"),
        ("- a\n".to_owned(), "a document must be a map of fields"),
        ("a: [1".to_owned(), "(A0101)"),
    ] {
        let message = first(&text);
        assert!(message.contains(wanted), "wanted {wanted:?} in\n{message}");
    }
}

#[test]
fn domains_in_other_spellings_are_noted() {
    let manifests = parse_noted("f.yaml", &TENANT.replace("www.alpha.localhost", "BÜCHER.localhost")).unwrap();
    assert_eq!(manifests.notes, ["f.yaml:9:30: the domain \"BÜCHER.localhost\" is kept as xn--bcher-kva.localhost"]);
    assert_eq!(manifests.documents[0].document.spec["domains"][1], "xn--bcher-kva.localhost");
}

#[test]
fn what_was_shown_can_be_applied_again() {
    let document = &parse("f.yaml", TENANT).unwrap()[0];
    let mut shown = serde_json::to_value(document).unwrap();
    shown["apiVersion"] = model::API_VERSION.into();
    shown["metadata"]["uid"] = "abc".into();
    shown["metadata"]["createdAt"] = "2026-01-01T00:00:00Z".into();
    shown["status"] = serde_json::json!({ "anything": 1 });
    assert_eq!(&parse("f.json", &serde_json::to_string_pretty(&shown).unwrap()).unwrap()[0], document);
}

#[test]
fn aliases_are_taken_within_a_budget() {
    let text = TENANT.replace("name: alpha", "name: &n alpha").replace("  contact", "  title: *n\n  contact");
    assert_eq!(parse("f.yaml", &text).unwrap()[0].spec["title"], "alpha");
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (before, letter) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        bomb.push_str(&format!("{letter}: &{letter} [{}]\n", vec![format!("*{before}"); 10].join(",")));
    }
    assert!(first(&bomb).contains("A0110"), "{}", first(&bomb));
    assert!(first("a: &a [*a]").contains("an alias of a value that contains it"), "{}", first("a: &a [*a]"));
    for deep in ["[".repeat(10_000), (0..200).map(|level| format!("{}-\n", " ".repeat(level))).collect(), "- ".repeat(10_000)] {
        assert!(first(&deep).contains("(A01"), "{}", first(&deep));
    }
}

#[test]
fn folders_are_read_in_order_with_templates_beside() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("wordpress/templates/settings.php", "<?php\n{{ no: yaml }}\n");
    write("wordpress/blueprint.yaml", &BLUEPRINT.replace("template: \"<?php {{ tenant.name }}\"", "templateFile: templates/settings.php"));
    write("tenants/b.yaml", &TENANT.replace("name: alpha", "name: beta"));
    write("tenants/a.yml", TENANT);
    write("tenants/.hidden.yaml", "[");
    write("tenants/readme.md", "[");
    let documents = load(&[folder.path().to_owned(), folder.path().join("tenants/a.yml")]).unwrap();
    assert_eq!(documents.iter().map(|d| d.metadata.name.as_str()).collect::<Vec<_>>(), ["wordpress.2026.11.1", "alpha", "beta"]);
    assert_eq!(documents[0].spec["tenant"]["settings"][0]["template"], "<?php\n{{ no: yaml }}\n");

    write("tenants/z.yaml", TENANT);
    let fault = load_noted(&[folder.path().join("tenants")]).unwrap_err();
    assert_eq!((fault.0.len(), fault.0[0].fault.code.to_string().as_str()), (1, codes::DUPLICATE_DOCUMENT));
    assert!(fault.to_string().contains("tenants/z.yaml:2:1: Tenant alpha stands twice, first at "), "{fault}");

    for (path, why) in [("../tenants/a.yml", "not a path inside"), ("templates/none", "No such file"), ("/etc/passwd", "not a path inside")] {
        write("wordpress/blueprint.yaml", &BLUEPRINT.replace("template: \"<?php {{ tenant.name }}\"", &format!("templateFile: {path}")));
        let fault = load(&[folder.path().join("wordpress")]).unwrap_err();
        assert_eq!((fault.0.len(), fault.0[0].fault.code.to_string().as_str()), (1, codes::TEMPLATE_FILE), "{fault}");
        assert!(fault.to_string().contains(why), "{fault}");
    }
    assert!(load(&[folder.path().join("wordpress/templates")]).unwrap_err().to_string().contains("holds no .yaml file"));
    assert!(load(&[folder.path().join("absent")]).unwrap_err().to_string().contains("(A0109)"));
    std::fs::write(folder.path().join("latin.yaml"), b"a: b\nc: \xfc\n").unwrap();
    assert!(load(&[folder.path().join("latin.yaml")]).unwrap_err().to_string().contains("latin.yaml:2:4: not UTF-8"));
}

#[test]
fn every_code_has_a_page_and_stands_once() {
    let listed: Vec<_> = codes::ALL.iter().map(|page| page.code).collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(listed, sorted);
}

#[test]
fn schemas_in_the_repository_are_current() {
    for (name, content) in schema::all() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(&name);
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, schema::text(&content), "{name} is not current: run cargo xtask generate");
    }
}

/// A text made from pieces that mean something to YAML or to us, so that random ones come far.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "apiVersion: atoll.dev/v1alpha1\n",
        "kind: Tenant\n",
        "kind: Blueprint\n",
        "metadata: {name: a}\n",
        "spec:\n",
        "  domains: [",
        "]",
        "a.b",
        ": ",
        "- ",
        "\n",
        "  ",
        "\t",
        "&a ",
        "*a",
        "{",
        "}",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "---\n",
        "...\n",
        "# c\n",
        "!t ",
        "? ",
        "%YAML 1.2\n",
        "null",
        "0x1f",
        "-1",
        "1e999",
        ".nan",
        "\u{feff}",
        "ü",
        "\r\n",
        "<<: ",
        "templateFile: x\n",
        "  tenant:\n    settings:\n    - ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse("f.yaml", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_pieces_make_it_panic_and_places_are_inside(text in pieces()) {
        if let Err(faults) = parse("f.yaml", &text) {
            for fault in faults.0 {
                let at = fault.at.unwrap();
                prop_assert!(at.line >= 1 && at.line <= text.split('\n').count() + 1 && at.column >= 1, "{fault} in {text:?}");
            }
        }
    }

    #[test]
    fn a_mangled_document_never_panics(cut in 0usize..1000, insert in pieces()) {
        let mut text = BLUEPRINT.to_owned();
        let cut = (0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(cut, &insert);
        let _ = parse("f.yaml", &text);
    }

    #[test]
    fn a_fault_stands_where_it_was_planted(lines in 0usize..30, indent in 0usize..5) {
        // Comments above and a deeper indentation move the place, and the fault with it.
        let spec = " ".repeat(indent + 1);
        let text = format!("{}apiVersion: atoll.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: a}}\nspec:\n{spec}wrong: 1\n{spec}blueprint: w\n{spec}domains: []\n{spec}contact: c\n", "# x\n".repeat(lines));
        let faults = parse("f.yaml", &text).unwrap_err();
        prop_assert_eq!(faults.0[0].place(), format!("f.yaml:{}:{}", lines + 5, indent + 2));
    }
}

#[test]
fn the_blueprints_and_examples_that_come_along_are_read() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["blueprints", "examples"] {
        let folder = root.join(folder);
        if folder.exists() {
            let documents = load(&[folder]).unwrap_or_else(|faults| panic!("{faults}"));
            assert!(!documents.is_empty());
        }
    }
}
