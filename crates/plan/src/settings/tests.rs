//! Tests of settings files.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use model::Typed;
use model::v1alpha1::{PlatformSpec, Setting, Tenant};
use proptest::prelude::*;

use super::{Account, Context, Templates, php_string, public_url};
use crate::tests::{blueprint, cell_name, tenant_name, tenant_spec};

fn setting(path: &str, template: &str) -> Setting {
    Setting { path: path.to_owned(), template: template.to_owned() }
}

fn context(title: &str) -> Context {
    let mut tenant = Typed::<Tenant>::new(&tenant_name("shop"), tenant_spec(&["shop.example", "www.shop.example"]));
    tenant.spec.title = title.to_owned();
    let account = Account { schema: "t_1".to_owned(), user: "t_1".to_owned(), password: "p'w".to_owned() };
    let secrets = BTreeMap::from([("salt".to_owned(), "s\\".to_owned())]);
    Context::new(&PlatformSpec::default(), &blueprint(10), &cell_name("a"), &tenant, account, secrets)
}

fn render(template: &str, title: &str) -> Result<String, String> {
    let templates = Templates::new(&[setting("f", template)]).map_err(|error| error.to_string())?;
    templates.render(&context(title)).map(|mut files| files.remove("f").unwrap()).map_err(|error| error.to_string())
}

#[test]
fn values_become_php_literals() {
    assert_eq!(render("{{ tenant.title | php }}", r"O'Neill \").unwrap(), r"'O\'Neill \\'");
    assert_eq!(render("{{ domains | php }}", "").unwrap(), "['shop.example', 'www.shop.example']");
    assert_eq!(
        render("{{ database | php }}", "").unwrap(),
        r"['host' => 'db', 'port' => 3306, 'name' => 't_1', 'user' => 't_1', 'password' => 'p\'w']"
    );
    assert_eq!(render("{{ mail | php }} {{ true | php }} {{ cache.prefix | php }}", "").unwrap(), "null true 't_1:'");
    assert_eq!(render("{{ url }}", "").unwrap(), "http://shop.example:8080");
    assert_eq!(render("{{ secrets.salt | json }}", "").unwrap(), r#""s\\""#);
}

#[test]
fn what_is_not_there_is_an_error_with_its_place() {
    let error = render("line\n{{ tenant.nmae }}", "").unwrap_err();
    assert!(error.contains("line 2") && error.contains("tenant.nmae"), "{error}");
    let error = render("{{ secrets.other | php }}", "").unwrap_err();
    assert!(error.contains("secrets.other"), "{error}");
    let error = render("{% if %}", "").unwrap_err();
    assert!(error.contains("line 1"), "{error}");
}

#[test]
fn work_is_bounded() {
    let error = render("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", "").unwrap_err();
    assert!(error.contains("too long"), "{error}");
}

#[test]
fn nothing_of_a_tenants_is_read_as_a_template_or_escaped() {
    assert_eq!(render("{{ tenant.title }}", "{{ secrets.salt }} <b>").unwrap(), "{{ secrets.salt }} <b>");
}

#[test]
fn files_stay_in_their_folder() {
    for path in ["../x", "/x", "a/../b", "", "a//b", "a b", "a\0"] {
        assert!(Templates::new(&[setting(path, "")]).is_err(), "{path:?} was accepted");
    }
    assert!(Templates::new(&[setting("a/b-c_d.php", "")]).is_ok());
    assert!(Templates::new(&[setting("a", ""), setting("a", "")]).is_err());
}

#[test]
fn a_blueprints_templates_are_tried_with_and_without_optional_values() {
    let mut spec = blueprint(10);
    assert_eq!(Templates::check(&spec), Ok(()));
    spec.tenant.settings = vec![setting("f", "{{ mail.host }}")];
    assert!(Templates::check(&spec).is_err(), "mail may be off");
    spec.tenant.settings = vec![setting("f", "{% if mail %}{{ mail.host }}{% endif %}{{ domains[0] }}")];
    assert_eq!(Templates::check(&spec), Ok(()));
}

#[test]
fn the_address_shows_the_port_where_it_is_not_the_schemes_own() {
    let mut platform = PlatformSpec::default();
    assert_eq!(public_url(&platform, "a.example"), "http://a.example:8080");
    platform.public.port = 80;
    assert_eq!(public_url(&platform, "a.example"), "http://a.example");
    platform.public.scheme = "https".to_owned();
    platform.public.port = 443;
    assert_eq!(public_url(&platform, "a.example"), "https://a.example");
}

#[test]
fn an_account_hides_its_password() {
    let account = Account { schema: "t".to_owned(), user: "u".to_owned(), password: "hidden".to_owned() };
    assert!(!format!("{account:?}").contains("hidden"));
}

/// Reads a single-quoted PHP literal as PHP does; `None` where the text is not exactly one literal.
fn read_php(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut text = String::new();
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\'', _) => return None,
            ('\\', Some('\\' | '\'')) => text.extend(chars.next()),
            ('\\', None) => return None,
            _ => text.push(c),
        }
    }
    Some(text)
}

proptest! {
    #[test]
    fn no_text_leaves_its_php_literal(text in any::<String>()) {
        prop_assert_eq!(read_php(&php_string(&text)), Some(text.clone()));
        prop_assert_eq!(render("{{ tenant.title | php }}", &text).unwrap(), php_string(&text));
    }

    #[test]
    fn no_template_panics(template in any::<String>()) {
        let _ = render(&template, "x");
    }
}
