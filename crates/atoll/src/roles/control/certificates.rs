//! Visitors' certificates: the issuer over control's documents. It begins anew whenever the platform's wishes for HTTPS change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use certs::acme::{Authority, Proof};
use certs::{Book, Https};
use control::{CertificateFacts, CertificateFault};
use identity::Sealer;
use issuer::{Cause, CertificateFeed, Issuer, Limits, Probe, Wish, Wishes};
use model::v1alpha1::{AuthoritySpec, Domain, DomainProof, HttpsSpec, Platform, Tenant, TenantState, TlsSpec};
use model::{DomainName, Sensitive};
use store::{SharedStore, TypedStore as _};
use tokio_util::sync::CancellationToken;

use crate::platform::Layout;

/// How often the platform's wishes are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Parsed certificates that control keeps: it shows none.
const REMEMBER: usize = 1;

/// The issuer with its book and feed.
pub struct Certificates {
    layout: Layout,
    book: Arc<Book>,
    feed: Arc<CertificateFeed>,
    documents: Arc<Documents>,
    told: Arc<Told>,
}

/// What control is told of domains: by the issuer at work, where there is one.
#[derive(Default)]
pub struct Told(Mutex<Option<Arc<Issuer>>>);

impl Told {
    fn set(&self, issuer: Option<Arc<Issuer>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = issuer;
    }
}

impl control::Certificates for Told {
    fn facts(&self, domain: &DomainName) -> Option<CertificateFacts> {
        let issuer = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let stand = issuer.stand(domain.as_str())?;
        let fault = |cause| match cause {
            Cause::Elsewhere => CertificateFault::Elsewhere,
            Cause::Forbidden => CertificateFault::Forbidden,
            // Noted by an earlier release: the words say more, until the next try.
            Cause::Refused | Cause::Unsaid => CertificateFault::Refused,
            Cause::Limited => CertificateFault::Limited,
            Cause::Authority => CertificateFault::Authority,
            Cause::Ours => CertificateFault::Ours,
        };
        Some(CertificateFacts { ends: stand.ends, asked: stand.asked, failed: stand.problem.map(|(cause, words)| (fault(cause), words)) })
    }
}

impl Certificates {
    /// Opens the book; `told`: where control asks how domains stand; `active`: whether this control holds the lease.
    ///
    /// # Errors
    /// When the book cannot be used. It holds what was obtained, so it is never put aside here.
    pub fn open(layout: &Layout, store: SharedStore, told: Arc<Told>, active: impl Fn() -> bool + Send + Sync + 'static) -> Result<Self> {
        let sealer = Sealer::create_or_open(&layout.master_key())?;
        let book = Arc::new(
            Book::open(&layout.certificates(), sealer, REMEMBER)
                .context("certificates; a backup of the file helps, or move it away and all are obtained anew")?,
        );
        let feed = CertificateFeed::new(book.clone());
        Ok(Self {
            layout: layout.clone(),
            book,
            feed,
            told,
            documents: Arc::new(Documents { store, active: Box::new(active), last: tokio::sync::Mutex::default() }),
        })
    }

    /// What edges follow.
    pub fn router(&self) -> axum::Router {
        issuer::router(self.feed.clone())
    }

    /// Works until the stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut running: Option<(TlsSpec, CancellationToken)> = None;
        loop {
            let wanted = if (self.documents.active)() { self.documents.tls().await } else { Ok(None) };
            match wanted {
                Ok(wanted) if wanted.as_ref() != running.as_ref().map(|(spec, _)| spec) => {
                    if let Some((_, ended)) = running.take() {
                        ended.cancel();
                        self.told.set(None);
                    }
                    if let Some(spec) = wanted {
                        let ended = stop.child_token();
                        match self.options(&spec) {
                            Ok(options) => {
                                let issuer = Issuer::new(options, self.book.clone(), self.feed.clone(), self.documents.clone());
                                self.told.set(Some(issuer.clone()));
                                tokio::spawn(issuer.run(ended.clone()));
                            }
                            Err(error) => tracing::error!(error = format!("{error:#}"), "no certificates are obtained until the Platform is changed"),
                        }
                        running = Some((spec, ended));
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error, "the wishes for HTTPS are not known"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }

    fn options(&self, spec: &TlsSpec) -> Result<issuer::Options> {
        let authorities = spec.authorities.iter().map(|authority| self.authority(authority)).collect::<Result<_>>()?;
        let proof = |proof: &DomainProof| match proof {
            DomainProof::Http => Proof::Http,
            DomainProof::Tls => Proof::Tls,
        };
        let folder = self.layout.own_certificates();
        fs_err::create_dir_all(&folder)?;
        Ok(issuer::Options {
            authorities,
            limits: Limits::default(),
            proofs: spec.proofs.iter().map(proof).collect(),
            probe: Probe { port: spec.probe_port, ..Probe::default() },
            private_names: spec.private_names,
            folder,
            self_signed: if spec.self_signed { vec!["localhost".to_owned(), "*.localhost".to_owned()] } else { Vec::new() },
        })
    }

    fn authority(&self, spec: &AuthoritySpec) -> Result<Authority> {
        let external = match (&spec.account, &spec.account_key) {
            (Some(account), Some(file)) => {
                let key = fs_err::read_to_string(self.layout.root.join(file)).context("the key of an account with an authority")?;
                Some((account.clone(), Sensitive::new(key)))
            }
            _ => None,
        };
        let name = spec.directory.strip_prefix("https://").unwrap_or(&spec.directory);
        Ok(Authority {
            name: name.split('/').next().unwrap_or(name).to_owned(),
            directory: spec.directory.clone(),
            root: spec.root.as_ref().map(|file| self.layout.root.join(file)),
            contact: spec.contact.clone(),
            external,
        })
    }
}

/// Wishes from documents.
struct Documents {
    store: SharedStore,
    active: Box<dyn Fn() -> bool + Send + Sync>,
    last: tokio::sync::Mutex<Option<Last>>,
}

/// What was last read, and until when it does.
struct Last {
    wishes: Vec<Wish>,
    until: tokio::time::Instant,
}

impl Documents {
    async fn tls(&self) -> Result<Option<TlsSpec>, String> {
        let (platforms, _) = self.store.read_all::<Platform>().await.map_err(|error| error.to_string())?;
        Ok(platforms.into_iter().next().and_then(|platform| platform.spec.public.tls))
    }
}

#[async_trait]
impl Wishes for Documents {
    async fn wishes(&self) -> Result<(Vec<Wish>, Https), String> {
        let everybody = self.tls().await?.map(|tls| https(&tls.https)).unwrap_or_default();
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.until > tokio::time::Instant::now()) {
            return Ok((last.wishes.clone(), everybody));
        }
        let begun = tokio::time::Instant::now();
        let wishes = self.read().await?;
        // However many tenants there are, reading them takes a fiftieth of the time.
        *last = Some(Last { wishes: wishes.clone(), until: tokio::time::Instant::now() + begun.elapsed() * 50 });
        Ok((wishes, everybody))
    }

    fn active(&self) -> bool {
        (self.active)()
    }
}

impl Documents {
    async fn read(&self) -> Result<Vec<Wish>, String> {
        let (tenants, _) = self.store.read_all::<Tenant>().await.map_err(|error| error.to_string())?;
        let (claims, _) = self.store.read_all::<Domain>().await.map_err(|error| error.to_string())?;
        let owners: std::collections::HashMap<&str, &model::TenantName> =
            claims.iter().map(|claim| (claim.metadata.name.as_str(), &claim.spec.tenant)).collect();
        let mut wishes = Vec::new();
        for tenant in tenants.iter().filter(|tenant| tenant.spec.state != TenantState::Removed) {
            let active = tenant.spec.state == TenantState::Active && tenant.status.serving == Some(TenantState::Active);
            let own = tenant.spec.https.as_ref().map(https);
            let wish = |domain: &DomainName, active| {
                let local = domain.as_str().ends_with(".localhost") || domain.as_str() == "localhost";
                Wish { domain: domain.to_string(), active, https: own.or(local.then(Https::default)) }
            };
            // One that another tenant owns is not asked for in this one's name.
            let owned = |domain: &DomainName| owners.get(domain.as_str()).is_some_and(|owner| owner.as_str() == tenant.metadata.name.as_str());
            // An alias needs one too: who comes by HTTPS is sent elsewhere only after a handshake.
            let wanted = tenant.spec.wanted_domains().into_iter().map(|(domain, _)| domain);
            wishes.extend(wanted.filter(|domain| owned(domain)).map(|domain| wish(&domain, active)));
            // Nobody is asked for a wildcard's certificate, which only a zone's owner gets; one that is laid into the folder is told by these rules.
            let wildcards = tenant.spec.hosts.wildcards.iter().filter(|domain| owned(domain));
            wishes.extend(wildcards.map(|domain| Wish { domain: format!("*.{domain}"), active: false, https: own }));
        }
        Ok(wishes)
    }
}

fn https(spec: &HttpsSpec) -> Https {
    let seconds = spec.hsts.map_or(0, |span| u32::try_from(span.0 / 1000).unwrap_or(u32::MAX));
    Https { redirect: spec.redirect, hsts: seconds }
}
