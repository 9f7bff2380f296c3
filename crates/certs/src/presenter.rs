//! What a handshake is answered with: rustls asks, the book answers.

use std::sync::Arc;

use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};

use crate::{Book, CHALLENGE_ALPN, Choice};

/// Answers handshakes from a book.
#[derive(Debug, Clone)]
pub struct Presenter {
    book: Arc<Book>,
    visitors: Arc<ServerConfig>,
    authorities: Arc<ServerConfig>,
}

impl Presenter {
    /// Answers from this book and offers these protocols, the best first.
    ///
    /// # Errors
    /// None that is known; the TLS library asks.
    pub fn new(book: Arc<Book>, protocols: &[&[u8]]) -> Result<Self, Error> {
        // Modern practice: of TLS 1.2 it has only what keeps past talk secret and is authenticated. The visitor's order counts: a phone without AES in hardware says so by it.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut visitors = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown(book.clone())));
        visitors.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Tickets need no memory and are opened by every edge; ids would need both.
        visitors.session_storage = Arc::new(NoServerSessionStorage {});
        visitors.ticketer = book.tickets();
        visitors.send_tls13_tickets = 1;
        let mut authorities = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Proved(book.clone())));
        authorities.alpn_protocols = vec![CHALLENGE_ALPN.to_vec()];
        authorities.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { book, visitors: Arc::new(visitors), authorities: Arc::new(authorities) })
    }

    /// The book.
    #[must_use]
    pub const fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// The settings for a handshake that began like this, and the server name whose certificate must be read with [`Book::load`] before it goes on.
    #[must_use]
    pub fn settings(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, Option<Option<String>>) {
        if hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == CHALLENGE_ALPN)) {
            return (self.authorities.clone(), None);
        }
        let name = hello.server_name();
        let missing = matches!(self.book.choose(name), Choice::OnDisk);
        (self.visitors.clone(), missing.then(|| name.map(str::to_owned)))
    }
}

/// Certificates, to visitors.
#[derive(Debug)]
struct Shown(Arc<Book>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self.0.choose(hello.server_name()) {
            Choice::Ready(certified) => Some(certified),
            // Read before, and displaced since: rare, so the wait is taken.
            Choice::OnDisk => self.0.load(hello.server_name()),
            Choice::None => None,
        }
    }
}

/// Proofs, to certificate authorities.
#[derive(Debug)]
struct Proved(Arc<Book>);

impl ResolvesServerCert for Proved {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let challenge = self.0.challenge_of(hello.server_name()?)?;
        match challenge.certificate() {
            Ok(certified) => Some(certified),
            Err(error) => {
                tracing::error!(domain = challenge.domain, %error, "a proof for a certificate authority could not be made");
                None
            }
        }
    }
}
