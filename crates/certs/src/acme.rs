//! The client of certificate authorities (ACME, RFC 8555; renewal information, RFC 9773).

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use instant_acme::{
    AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, Problem, RetryPolicy,
};
use jiff::Timestamp;
use model::Sensitive;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::Challenge;

/// Most time for one order, from its first word to the certificate.
const ORDER_WITHIN: Duration = Duration::from_secs(180);
/// Most time for one word with an authority.
const WORD_WITHIN: Duration = Duration::from_secs(30);

/// Where an authority is, and as whom we speak to it.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Its name in our log.
    pub name: String,
    /// URL of its directory.
    pub directory: String,
    /// A file of the one root that its own server is trusted by; the system's roots where left out.
    pub root: Option<PathBuf>,
    /// Whom it may write to.
    pub contact: Option<String>,
    /// An account that it gave us elsewhere: id and key in base64url.
    pub external: Option<(String, Sensitive<String>)>,
}

/// Whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The domain does not answer as it should: another try helps when somebody changed something.
    Domain,
    /// The domain's zone names other authorities than this one (CAA).
    Forbidden,
    /// We asked too often.
    Limited,
    /// The authority does not answer as it should.
    Authority,
    /// The answer to the authority could not be shown.
    Ours,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AcmeError {
    /// Whose fault.
    pub fault: Fault,
    /// What was said.
    pub message: String,
}

impl AcmeError {
    fn new(fault: Fault, message: impl ToString) -> Self {
        Self { fault, message: message.to_string() }
    }
}

impl From<Error> for AcmeError {
    fn from(error: Error) -> Self {
        let fault = match &error {
            Error::Api(problem) => fault(problem),
            _ => Fault::Authority,
        };
        // The library's words for lost connections leave their reason to the source.
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        Self { fault, message }
    }
}

fn fault(problem: &Problem) -> Fault {
    let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
    match kind {
        "rateLimited" => Fault::Limited,
        "caa" => Fault::Forbidden,
        "connection" | "dns" | "incorrectResponse" | "rejectedIdentifier" | "tls" | "unauthorized" | "unsupportedIdentifier" | "compound" => {
            Fault::Domain
        }
        _ => Fault::Authority,
    }
}

/// How a domain is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A file over HTTP on port 80.
    Http,
    /// A certificate over TLS on port 443.
    Tls,
}

/// Shows what an authority wants to see.
#[async_trait]
pub trait Answers: Send + Sync {
    /// Returns once every edge shows it.
    ///
    /// # Errors
    /// Why it cannot be shown.
    async fn show(&self, token: &str, challenge: Challenge) -> Result<(), String>;

    /// It is no longer asked for.
    async fn hide(&self, token: &str);
}

/// What an authority gave.
#[derive(Debug, Clone)]
pub struct Obtained {
    /// The certificate and those above it, as PEM.
    pub chain: String,
    /// Its key, as PEM.
    pub key: Sensitive<String>,
}

/// When an authority wants a certificate renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub start: Timestamp,
    /// Not after.
    pub end: Timestamp,
    /// When to ask again.
    pub ask_again: Timestamp,
}

/// Our account with an authority.
pub struct Account {
    name: String,
    account: instant_acme::Account,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.name)
    }
}

impl Account {
    /// Opens the account of these credentials, or makes one; then the second value must be kept, sealed.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn open(authority: &Authority, known: Option<&Sensitive<String>>) -> Result<(Self, Option<Sensitive<String>>), AcmeError> {
        within(WORD_WITHIN, async {
            let builder = || match &authority.root {
                Some(root) => instant_acme::Account::builder_with_root(root),
                None => instant_acme::Account::builder(),
            };
            if let Some(known) = known
                && let Ok(credentials) = serde_json::from_str::<AccountCredentials>(known.reveal())
            {
                let account = builder()?.from_credentials(credentials).await?;
                return Ok((Self { name: authority.name.clone(), account }, None));
            }
            let contact = authority.contact.as_ref().map(|mail| format!("mailto:{mail}"));
            let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
            let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
            let external = authority.external.as_ref().map(|(id, key)| {
                use base64::Engine as _;
                let key = base64::engine::general_purpose::URL_SAFE_NO_PAD
                    .decode(key.reveal().trim())
                    .map_err(|_| AcmeError::new(Fault::Authority, format!("the external account key for {} is no base64url", authority.name)))?;
                Ok::<_, AcmeError>(ExternalAccountKey::new(id.clone(), &key))
            });
            let external = external.transpose()?;
            let (account, credentials) = builder()?.create(&new, authority.directory.clone(), external.as_ref()).await?;
            let text = serde_json::to_string(&credentials).map_err(|error| AcmeError::new(Fault::Authority, error))?;
            Ok((Self { name: authority.name.clone(), account }, Some(Sensitive::new(text))))
        })
        .await
    }

    /// Obtains a certificate for a domain. `replaces` is the chain that it takes the place of: authorities do not count such orders against their limits.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn obtain(&self, domain: &str, replaces: Option<&str>, proof: Proof, answers: &dyn Answers) -> Result<Obtained, AcmeError> {
        let mut shown = Vec::new();
        let obtained = within(ORDER_WITHIN, self.order(domain, replaces, proof, answers, &mut shown)).await;
        for token in shown {
            answers.hide(&token).await;
        }
        obtained
    }

    async fn order(
        &self,
        domain: &str,
        replaces: Option<&str>,
        proof: Proof,
        answers: &dyn Answers,
        shown: &mut Vec<String>,
    ) -> Result<Obtained, AcmeError> {
        let mut order = self.begin(domain, replaces).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(AcmeError::new(Fault::Domain, format!("the authorization for {domain} is {other:?}"))),
            }
            let kind = match proof {
                Proof::Http => ChallengeType::Http01,
                Proof::Tls => ChallengeType::TlsAlpn01,
            };
            let mut challenge = authorization
                .challenge(kind)
                .ok_or_else(|| AcmeError::new(Fault::Authority, format!("{} does not offer the challenge for {proof:?}", self.name)))?;
            let (token, answer) = (challenge.token.clone(), challenge.key_authorization().as_str().to_owned());
            shown.push(token.clone());
            let told = answers.show(&token, Challenge { domain: domain.to_owned(), answer }).await;
            told.map_err(|why| AcmeError::new(Fault::Ours, why))?;
            challenge.set_ready().await?;
        }
        let retries = RetryPolicy::default().timeout(ORDER_WITHIN);
        match order.poll_ready(&retries).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) => return Err(refusal(&mut order, domain).await),
            Err(Error::Api(problem)) => {
                let said = refusal(&mut order, domain).await;
                return Err(if fault(&problem) == Fault::Limited { AcmeError::new(Fault::Limited, problem) } else { said });
            }
            Err(error) => return Err(error.into()),
        }
        let made = |error: rcgen::Error| AcmeError::new(Fault::Ours, error);
        let key = KeyPair::generate().map_err(made)?;
        let mut params = CertificateParams::new([domain.to_owned()]).map_err(made)?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key).map_err(made)?.der()).await?;
        let chain = order.poll_certificate(&retries).await?;
        Ok(Obtained { chain, key: Sensitive::new(key.serialize_pem()) })
    }

    /// An order, as a replacement where the authority takes it as one.
    async fn begin(&self, domain: &str, replaces: Option<&str>) -> Result<Order, AcmeError> {
        let identifiers = [Identifier::Dns(domain.to_owned())];
        let leaf = replaces.and_then(|chain| CertificateDer::from_pem_slice(chain.as_bytes()).ok());
        if let Some(id) = leaf.as_ref().and_then(|leaf| CertificateIdentifier::try_from(leaf).ok()) {
            match self.account.new_order(&NewOrder::new(&identifiers).replaces(id)).await {
                Ok(order) => return Ok(order),
                Err(Error::Api(problem)) if fault(&problem) != Fault::Authority => return Err(Error::Api(problem).into()),
                // One of another authority, one that was replaced already, an authority that knows no replacements: an order like any other.
                Err(error) => tracing::debug!(%error, authority = self.name, domain, "an order as a replacement was not taken"),
            }
        }
        Ok(self.account.new_order(&NewOrder::new(&identifiers)).await?)
    }

    /// When the authority wants a certificate renewed; nothing where it does not say.
    ///
    /// # Errors
    /// [`AcmeError`].
    pub async fn window(&self, chain: &str) -> Result<Option<Window>, AcmeError> {
        let Ok(leaf) = CertificateDer::from_pem_slice(chain.as_bytes()) else { return Ok(None) };
        let Ok(id) = CertificateIdentifier::try_from(&leaf) else { return Ok(None) };
        let (info, again) = match within(WORD_WITHIN, async { Ok(self.account.renewal_info(&id).await) }).await? {
            Ok(answer) => answer,
            Err(Error::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let at = |second: i64| Timestamp::from_second(second).unwrap_or_default();
        let ask_again = Timestamp::now().saturating_add(again).unwrap_or(Timestamp::MAX);
        let (start, end) = (info.suggested_window.start.unix_timestamp(), info.suggested_window.end.unix_timestamp());
        Ok(Some(Window { start: at(start), end: at(end.max(start)), ask_again }))
    }
}

/// What the authority found wrong with a domain.
async fn refusal(order: &mut Order, domain: &str) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            let fault = match fault(problem) {
                Fault::Authority => Fault::Domain,
                other => other,
            };
            return AcmeError::new(fault, format!("{domain}: {problem}"));
        }
    }
    AcmeError::new(Fault::Domain, format!("{domain}: the authority refuses without a reason"))
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, AcmeError>>) -> Result<T, AcmeError> {
    let late = |_| AcmeError::new(Fault::Authority, format!("no answer within {} s", time.as_secs()));
    tokio::time::timeout(time, work).await.map_err(late)?
}
