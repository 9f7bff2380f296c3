//! Whether a domain points here: an answer that only our edges know is fetched by the domain's name, before any authority is asked.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use certs::Challenge;
use certs::acme::Answers;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Most time for one address.
const WITHIN: Duration = Duration::from_secs(5);
/// Most of an answer that is read.
const MOST: u64 = 16 * 1024;

/// How domains are looked at.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The port that authorities ask over HTTP.
    pub port: u16,
    /// Where these domains are, whatever the resolver says: those of an authority with a DNS of its own.
    pub hosts: BTreeMap<String, IpAddr>,
}

impl Default for Probe {
    fn default() -> Self {
        Self { port: 80, hosts: BTreeMap::new() }
    }
}

/// Where a domain points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointing {
    /// To an edge of ours.
    Here,
    /// Not, or not yet, for this reason.
    Elsewhere(String),
}

impl Probe {
    /// Looks where a domain points.
    pub(crate) async fn look(&self, domain: &str, answers: &dyn Answers) -> Pointing {
        let token = format!("atoll-{}", identity::token(12).reveal());
        let answer = identity::token(24).reveal().clone();
        let pointing = match answers.show(&token, Challenge { domain: domain.to_owned(), answer: answer.clone() }).await {
            Ok(()) => self.ask_all(domain, &token, &answer).await,
            Err(why) => Pointing::Elsewhere(why),
        };
        answers.hide(&token).await;
        pointing
    }

    /// Every address must lead here: authorities choose for themselves.
    async fn ask_all(&self, domain: &str, token: &str, answer: &str) -> Pointing {
        let mut addresses: Vec<SocketAddr> = match self.hosts.get(domain) {
            Some(&address) => vec![SocketAddr::new(address, self.port)],
            None => match tokio::net::lookup_host((domain, self.port)).await {
                Ok(addresses) => addresses.collect(),
                Err(error) => return Pointing::Elsewhere(format!("{domain} does not resolve: {error}")),
            },
        };
        if addresses.is_empty() {
            return Pointing::Elsewhere(format!("{domain} has no address"));
        }
        // Resolvers turn them round; the same trouble is told in the same words.
        addresses.sort_unstable();
        for address in addresses {
            let asked = tokio::time::timeout(WITHIN, ask(address, domain, token)).await;
            let problem = match asked {
                Ok(Ok(body)) if body.trim_end().ends_with(answer) => continue,
                Ok(Ok(_)) => "somebody else answers there".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", WITHIN.as_secs()),
            };
            return Pointing::Elsewhere(format!("{domain} points to {address}, which is no edge of ours: {problem}"));
        }
        Pointing::Here
    }
}

async fn ask(address: SocketAddr, domain: &str, token: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {domain}\r\nUser-Agent: atoll\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = Vec::new();
    stream.take(MOST).read_to_end(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
