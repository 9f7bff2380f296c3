//! Tenant: a customer of the SaaS.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HttpsSpec;

use crate::{BlueprintName, CellName, Conditions, DomainName, Epoch, Generation, Kind, OperationName, Resource};

/// Kind `Tenant`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant;

/// What an operator wants of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// The product: name of a blueprint, without version.
    pub blueprint: BlueprintName,
    /// Domains, the first is the primary one.
    #[schemars(length(min = 1, max = 50))]
    pub domains: Vec<DomainName>,
    /// What else leads to it: aliases, the other of apex and www, wildcards.
    #[serde(default, skip_serializing_if = "HostRules::is_default")]
    pub hosts: HostRules,
    /// Title of the site.
    #[serde(default)]
    pub title: String,
    /// Mail address of the administrator.
    pub contact: String,
    /// Language tag such as `en` or `cs-CZ`.
    #[serde(default = "default_language")]
    pub language: String,
    /// Plan, free text that templates and limits may use.
    #[serde(default = "default_plan")]
    pub plan: String,
    /// Region in which its data must stay; any where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The one cell it may be placed in; any where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellName>,
    /// Tenants of one group are spread over cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What its visitors are told about HTTPS; what the platform says where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsSpec>,
    /// Whether it is served.
    #[serde(default)]
    pub state: TenantState,
}

/// Hosts beside a tenant's domains.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostRules {
    /// Domains from which visitors are sent to the primary domain, path and query kept.
    #[schemars(length(max = 50))]
    pub aliases: Vec<DomainName>,
    /// What becomes of `www.shop.example` where `shop.example` is named, and the reverse.
    pub www: WwwRule,
    /// Domains of the tenant of which every host one label below is served too (`*.shop.example`), unless it is somebody's own domain.
    #[schemars(length(max = 50))]
    pub wildcards: Vec<DomainName>,
    /// How visitors are sent: 308 keeps the method, 301 is for clients that know nothing newer.
    pub redirect: RedirectCode,
}

/// What becomes of the other one of apex and www.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum WwwRule {
    /// Nothing: it is served where it is named.
    #[default]
    Leave,
    /// It belongs to the tenant as well, and leads to the one that is named.
    Redirect,
}

/// Status of a redirect for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectCode {
    /// 301.
    Moved,
    /// 308.
    #[default]
    Permanent,
}

impl From<RedirectCode> for u16 {
    fn from(code: RedirectCode) -> Self {
        match code {
            RedirectCode::Moved => 301,
            RedirectCode::Permanent => 308,
        }
    }
}

impl TryFrom<u16> for RedirectCode {
    type Error = String;
    fn try_from(code: u16) -> Result<Self, String> {
        match code {
            301 => Ok(Self::Moved),
            308 => Ok(Self::Permanent),
            other => Err(format!("a redirect is 301 or 308, not {other}")),
        }
    }
}

impl JsonSchema for RedirectCode {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RedirectCode".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "enum": [301, 308] })
    }
}

impl HostRules {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl TenantSpec {
    /// Every domain that the tenant wants to own, each once, with the one to which its visitors are sent where it is not served itself. Named domains come
    /// first: one that is named is served, whatever an alias says.
    #[must_use]
    pub fn wanted_domains(&self) -> Vec<(DomainName, Option<DomainName>)> {
        let mut wanted: Vec<(DomainName, Option<DomainName>)> = Vec::new();
        let mut add = |domain: DomainName, to: Option<DomainName>| {
            if wanted.iter().all(|(have, _)| *have != domain) {
                wanted.push((domain, to));
            }
        };
        self.domains.iter().for_each(|domain| add(domain.clone(), None));
        let Some(primary) = self.domains.first() else { return Vec::new() };
        self.hosts.aliases.iter().for_each(|alias| add(alias.clone(), Some(primary.clone())));
        if self.hosts.www == WwwRule::Redirect {
            let others = self.domains.iter().filter_map(|domain| Some((other_of_www(domain)?, Some(domain.clone()))));
            others.for_each(|(other, to)| add(other, to));
        }
        wanted
    }
}

/// The apex of a www domain, the www of another one; none where that is no domain.
fn other_of_www(domain: &DomainName) -> Option<DomainName> {
    match domain.as_str().strip_prefix("www.") {
        // Not a whole top-level domain.
        Some(apex) => apex.contains('.').then(|| DomainName::new(apex).ok())?,
        None => DomainName::new(format!("www.{domain}")).ok(),
    }
}

/// Whether a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TenantState {
    /// Served.
    #[default]
    Active,
    /// Visitors see that it is suspended; data is kept.
    Suspended,
    /// Not served; its data is deleted after the platform's grace period, until then it can be made active again.
    Removed,
}

/// What is known of a tenant. Written by control alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantStatus {
    /// `Placed`, `DomainsOwned`, `Installed`, `Ready`.
    pub conditions: Conditions,
    /// Spec generation this status speaks of.
    pub observed_generation: Generation,
    /// The owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellName>,
    /// Number of the ownership.
    pub epoch: Epoch,
    /// Database schema, `t_` and the short uid; chosen once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// How often its creation failed; none once it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation: Option<FailedCreation>,
    /// State that routes and gates were last told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<TenantState>,
    /// The running operation on this tenant, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationName>,
    /// When its data is deleted for good, after a removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub purge_at: Option<Timestamp>,
}

/// A creation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedCreation {
    /// Of which spec.
    pub generation: Generation,
    /// How often in a row.
    pub failed: u32,
    /// When it is tried again; none: not before the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next_try_at: Option<Timestamp>,
}

impl Resource for Tenant {
    const KIND: Kind = Kind::Tenant;
    type Spec = TenantSpec;
    type Status = TenantStatus;
}

fn default_language() -> String {
    "en".to_owned()
}
fn default_plan() -> String {
    "standard".to_owned()
}
