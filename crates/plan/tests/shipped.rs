//! What ships must pass its own rules: the blueprint and the example installation load without a fault, the lint has nothing against them, and
//! a tenant's rendered settings hold whatever its title holds.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use model::v1alpha1::{Blueprint, Cell, Platform, Tenant};
use model::{CellName, Document, Kind, Typed};
use plan::lint::{self, Lint};
use plan::settings::{Account, Context, Templates};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shipped() -> Vec<Document> {
    manifest::load(&[root().join("blueprints/wordpress"), root().join("examples/laptop")]).unwrap()
}

fn of<R: model::Resource>(documents: &[Document]) -> Vec<Typed<R>> {
    documents.iter().filter(|document| document.kind == R::KIND).map(|document| Typed::read(document.clone()).unwrap()).collect()
}

fn nothing_against(what: &str, lint: &Lint) {
    assert!(lint.passed(), "{what}: {:?}", lint.faults);
    // What a cell of it takes is always said, not a fault.
    assert!(lint.findings.iter().all(|finding| finding.code.to_string() == "A0366"), "{what}: {:?}", lint.findings);
}

#[test]
fn the_lint_has_nothing_against_what_ships() {
    let documents = shipped();
    for blueprint in of::<Blueprint>(&documents) {
        nothing_against("blueprint", &lint::blueprint(&blueprint.metadata.name, &blueprint.spec));
    }
    for platform in of::<Platform>(&documents) {
        nothing_against("platform", &lint::platform(&platform.spec));
    }
    for cell in of::<Cell>(&documents) {
        nothing_against("cell", &lint::cell(&cell.metadata.name, &cell.spec));
    }
    for tenant in of::<Tenant>(&documents) {
        nothing_against("tenant", &lint::tenant(&tenant.metadata.name, &tenant.spec));
    }
    let count = |kind| documents.iter().filter(|document| document.kind == kind).count();
    assert_eq!((count(Kind::Blueprint), count(Kind::Cell), count(Kind::Tenant)), (1, 2, 4));
}

#[test]
fn cells_of_the_example_name_the_blueprint_that_ships() {
    let documents = shipped();
    let blueprint = of::<Blueprint>(&documents).remove(0).metadata.name;
    assert!(of::<Cell>(&documents).iter().all(|cell| cell.spec.blueprint == blueprint), "the cells do not name {blueprint}");
}

#[test]
fn settings_hold_whatever_a_title_holds() {
    let documents = shipped();
    let blueprint = of::<Blueprint>(&documents).remove(0).spec;
    let platform = of::<Platform>(&documents).remove(0).spec;
    let mut tenant = of::<Tenant>(&documents).remove(0);
    "'); evil(\\".clone_into(&mut tenant.spec.title);
    let account = Account { schema: "t_1".to_owned(), user: "t_1".to_owned(), password: "p".to_owned() };
    let secrets = blueprint.tenant.secrets.iter().map(|name| (name.clone(), "s".to_owned())).collect();
    let context = Context::new(&platform, &blueprint, &CellName::new("cell-a").unwrap(), &tenant, account, secrets);
    let files = Templates::new(&blueprint.tenant.settings).unwrap().render(&context).unwrap();
    let settings = &files["settings.php"];
    assert!(settings.contains(r"'title' => '\'); evil(\\',"), "{settings}");
    assert!(settings.contains("'url' => 'http://alpha.localhost:8080',"), "{settings}");
    assert!(settings.contains("'mail' => null,"), "{settings}");
}
