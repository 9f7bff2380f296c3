//! Settings files of a tenant, rendered from the blueprint's templates.
//!
//! Templates are minijinja with strict undefined values, no escaping of their own and bounded work. Values reach PHP through the filter `php`,
//! which gives a literal, and JSON through `json`; nothing of a tenant's is ever read as a template.
//! Entry points: [`Templates::new`], [`Templates::render`], [`Templates::check`].

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use model::v1alpha1::{BlueprintSpec, PlatformSpec, Setting, Tenant};
use model::{CellName, Typed};
use serde::Serialize;

/// Steps that one template may take; a settings file of a few hundred lines takes about a thousand.
const FUEL: u64 = 100_000;
/// Most bytes of one rendered file.
const MAX_FILE: usize = 256 * 1024;
/// How deep lists and maps may be nested in a value that a filter writes out.
const DEPTH: usize = 16;
/// Host name of the database's writer inside every cell.
pub const DATABASE_HOST: &str = "db";
/// Port of the database's writer inside every cell.
pub const DATABASE_PORT: u16 = 3306;
/// Host name of the cache inside every cell, and the name of its service.
pub const CACHE_HOST: &str = "cache";
/// Port of the cache inside every cell.
pub const CACHE_PORT: u16 = 11211;
/// Host name of the platform's mail relay inside every cell: a gate, which passes the octets on.
pub const MAIL_HOST: &str = "mail-relay";
/// Port of it.
pub const MAIL_PORT: u16 = 2525;

/// Everything that a template may name.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Who the tenant is.
    pub tenant: TenantContext,
    /// Its domains, the first is the primary one.
    pub domains: Vec<String>,
    /// The primary address as visitors type it, without a final slash.
    pub url: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The public port, also where the address does not show it.
    pub port: u16,
    /// Where the tenant's data is; none where the blueprint has no database.
    pub database: Option<DatabaseContext>,
    /// Where the cache is; none where the blueprint has none.
    pub cache: Option<CacheContext>,
    /// The blueprint's `tenant.secrets`, by name.
    pub secrets: BTreeMap<String, String>,
    /// The platform's mail relay; none: mail is off.
    pub mail: Option<MailContext>,
    /// The cell's name.
    pub cell: String,
}

/// Who the tenant is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantContext {
    /// Name.
    pub name: String,
    /// Title of the site.
    pub title: String,
    /// Mail address of the administrator.
    pub contact: String,
    /// Language tag.
    pub language: String,
    /// Plan.
    pub plan: String,
    /// `Active`, `Suspended` or `Removed`.
    pub state: String,
}

/// Where the tenant's data is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseContext {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Schema.
    pub name: String,
    /// Account.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// Where the cache is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheContext {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What every key of this tenant begins with; never reused by a later tenant of the same name.
    pub prefix: String,
}

/// The mail relay.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MailContext {
    /// Host, as instances reach it.
    pub host: String,
    /// Port, as instances reach it.
    pub port: u16,
    /// The relay's own host name: the one on its certificate.
    pub server: String,
    /// Sender of mails that name none.
    pub from: String,
}

impl Context {
    /// The context of a placed tenant.
    #[must_use]
    pub fn new(
        platform: &PlatformSpec,
        blueprint: &BlueprintSpec,
        cell: &CellName,
        tenant: &Typed<Tenant>,
        account: Account,
        secrets: BTreeMap<String, String>,
    ) -> Self {
        let spec = &tenant.spec;
        let domains: Vec<String> = spec.domains.iter().map(|domain| domain.as_str().to_owned()).collect();
        let Account { schema, user, password } = account;
        let prefix = format!("{schema}:");
        let database = blueprint.database.as_ref().map(|_| DatabaseContext {
            host: DATABASE_HOST.to_owned(),
            port: DATABASE_PORT,
            name: schema,
            user,
            password,
        });
        let cache = blueprint.cache.as_ref().map(|_| CacheContext { host: CACHE_HOST.to_owned(), port: CACHE_PORT, prefix });
        Self {
            tenant: TenantContext {
                name: tenant.metadata.name.as_str().to_owned(),
                title: spec.title.clone(),
                contact: spec.contact.clone(),
                language: spec.language.clone(),
                plan: spec.plan.clone(),
                state: format!("{:?}", spec.state),
            },
            url: public_url(platform, domains.first().map_or("", String::as_str)),
            domains,
            scheme: platform.public.scheme.clone(),
            port: platform.public.link_port(),
            database,
            cache,
            secrets,
            mail: platform.mail.as_ref().map(|mail| MailContext::new(&mail.host, &mail.from)),
            cell: cell.as_str().to_owned(),
        }
    }

    /// A made-up context with awkward values, for trying templates of this blueprint.
    #[must_use]
    fn sample(blueprint: &BlueprintSpec, full: bool) -> Self {
        let awkward = r#"O'Neill & "Sons" \ <b> ?> €"#.to_owned();
        let database = DatabaseContext {
            host: DATABASE_HOST.to_owned(),
            port: DATABASE_PORT,
            name: "t_sample".to_owned(),
            user: "t_sample".to_owned(),
            password: awkward.clone(),
        };
        Self {
            tenant: TenantContext {
                name: "sample".to_owned(),
                title: awkward.clone(),
                contact: "sample@example.org".to_owned(),
                language: "en".to_owned(),
                plan: "standard".to_owned(),
                state: "Active".to_owned(),
            },
            domains: ["sample.example", "www.sample.example"].into_iter().take(if full { 2 } else { 1 }).map(str::to_owned).collect(),
            url: "http://sample.example:8080".to_owned(),
            scheme: "http".to_owned(),
            port: 8080,
            database: blueprint.database.as_ref().map(|_| database),
            cache: blueprint.cache.as_ref().map(|_| CacheContext { host: CACHE_HOST.to_owned(), port: CACHE_PORT, prefix: "t_sample:".to_owned() }),
            secrets: blueprint.tenant.secrets.iter().map(|name| (name.clone(), awkward.clone())).collect(),
            mail: full.then(|| MailContext::new("mail.example", "sites@example.org")),
            cell: "sample".to_owned(),
        }
    }
}

impl MailContext {
    fn new(server: &str, from: &str) -> Self {
        Self { host: MAIL_HOST.to_owned(), port: MAIL_PORT, server: server.to_owned(), from: from.to_owned() }
    }
}

/// The tenant's database account: chosen once when it is created.
#[derive(Clone)]
pub struct Account {
    /// Schema; also the prefix of the tenant's cache keys.
    pub schema: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("schema", &self.schema).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A site's address as visitors type it: the port only where it is not the scheme's own.
#[must_use]
pub fn public_url(platform: &PlatformSpec, domain: &str) -> String {
    let public = &platform.public;
    match (public.scheme.as_str(), public.port) {
        ("http", 80) | ("https", 443) => format!("{}://{domain}", public.scheme),
        (scheme, port) => format!("{scheme}://{domain}:{port}"),
    }
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("settings file {path}{}: {cause}", line.map(|line| format!(", line {line} of its template")).unwrap_or_default())]
pub struct TemplateError {
    /// Path of the file.
    pub path: String,
    /// Line in the template, where known.
    pub line: Option<usize>,
    /// What is wrong.
    pub cause: String,
}

/// A blueprint's templates, parsed.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    paths: Vec<String>,
}

impl Templates {
    /// Parses them.
    ///
    /// # Errors
    /// [`TemplateError`] for the first that does not parse, or whose path is not a relative one below the tenant's folder.
    pub fn new(settings: &[Setting]) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_keep_trailing_newline(true);
        environment.set_recursion_limit(DEPTH);
        environment.add_filter("php", |value: &Value| php(value, DEPTH));
        environment.add_filter("json", |value: &Value| {
            serde_json::to_string(value).map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
        });
        let mut paths = Vec::with_capacity(settings.len());
        for Setting { path, template } in settings {
            let fail = |cause: &str| TemplateError { path: path.clone(), line: None, cause: cause.to_owned() };
            check_path(path).map_err(fail)?;
            if paths.contains(path) {
                return Err(fail("another settings file has the same path"));
            }
            environment.add_template_owned(path.clone(), template.clone()).map_err(|error| template_error(path, &error))?;
            paths.push(path.clone());
        }
        Ok(Self { environment, paths })
    }

    /// Renders every file: path below the tenant's folder to content, ordered by path.
    ///
    /// # Errors
    /// [`TemplateError`] when a template names what the context does not have, works too long or writes too much. No file is given then.
    pub fn render(&self, context: &Context) -> Result<BTreeMap<String, String>, TemplateError> {
        let render = |path: &String| {
            let template = self.environment.get_template(path).map_err(|error| template_error(path, &error))?;
            let text = template.render(context).map_err(|error| template_error(path, &error))?;
            if text.len() > MAX_FILE {
                return Err(TemplateError { path: path.clone(), line: None, cause: format!("it has more than {MAX_FILE} bytes") });
            }
            Ok((path.clone(), text))
        };
        self.paths.iter().map(render).collect()
    }

    /// Parses and tries a blueprint's templates with sample values: with all that may be there, and with as little as there may be.
    ///
    /// # Errors
    /// As [`Templates::new`] and [`Templates::render`].
    pub fn check(blueprint: &BlueprintSpec) -> Result<(), TemplateError> {
        let templates = Self::new(&blueprint.tenant.settings)?;
        for full in [true, false] {
            templates.render(&Context::sample(blueprint, full))?;
        }
        Ok(())
    }
}

/// Whether a path stays below its folder.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if path.len() > 200 {
        return Err("the path is too long");
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err("the path leaves its folder");
    }
    if !path.split('/').all(plain) {
        return Err("the path is not a relative one of letters, digits, '.', '-', '_' and '/'");
    }
    Ok(())
}

fn template_error(path: &str, error: &minijinja::Error) -> TemplateError {
    let cause = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("the template works too long (more than {FUEL} steps)"),
        (ErrorKind::UndefinedError, _) => {
            let line = error.line().and_then(|line| error.template_source()?.lines().nth(line.checked_sub(1)?)).unwrap_or_default();
            format!("it uses a value that is not there: {}", line.trim())
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    TemplateError { path: path.to_owned(), line: error.line(), cause }
}

/// A value as a PHP literal. Strings are single-quoted, so that nothing in them is ever evaluated.
fn php(value: &Value, depth: usize) -> Result<String, minijinja::Error> {
    let refuse = |why: &str| minijinja::Error::new(ErrorKind::InvalidOperation, format!("the filter php cannot write {why}"));
    let deeper = depth.checked_sub(1).ok_or_else(|| refuse("values nested so deep"))?;
    match value.kind() {
        ValueKind::Undefined => Err(minijinja::Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if value.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(number) if number.is_finite() => Ok(value.to_string()),
            _ => Err(refuse("a number without an end")),
        },
        ValueKind::String => Ok(php_string(value.as_str().unwrap_or_default())),
        ValueKind::Map => {
            let mut pairs = Vec::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                pairs.push(format!("{} => {}", php(&key, deeper)?, php(&item, deeper)?));
            }
            Ok(format!("[{}]", pairs.join(", ")))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Result<Vec<_>, _> = value.try_iter()?.map(|item| php(&item, deeper)).collect();
            Ok(format!("[{}]", items?.join(", ")))
        }
        _ => Err(refuse("a value of this kind")),
    }
}

/// Inside single quotes PHP reads only `\\` and `\'`.
fn php_string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests;
