//! A mail relay that keeps what it is given: enough of SMTP (RFC 5321) for a site that hands over its mail.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::fault::run;

/// A mail as it was handed over.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    /// Sender of the envelope.
    pub from: String,
    /// Recipients of the envelope.
    pub to: Vec<String>,
    /// Header and body.
    pub text: String,
}

/// The relay; it ends when it is dropped.
#[derive(Debug)]
pub struct Mailbox {
    /// Where it listens.
    pub address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
    task: tokio::task::JoinHandle<()>,
}

/// The machine's address on the engine's default bridge. Some engines do not name it; it is the network's first one then.
async fn bridge() -> Result<Ipv4Addr> {
    let said = run("docker", &["network", "inspect", "bridge", "-f", "{{with index .IPAM.Config 0}}{{.Gateway}} {{.Subnet}}{{end}}"]).await?;
    let mut words = said.split_whitespace();
    let first = words.next().with_context(|| format!("the engine's default bridge has no network: {said:?}"))?;
    match first.split_once('/') {
        None => Ok(first.parse()?),
        Some((network, _)) => Ok(Ipv4Addr::from(u32::from(network.parse::<Ipv4Addr>()?) + 1)),
    }
}

impl Mailbox {
    /// Starts one on the machine's end of the engine's default bridge: an address that no cell's network leads to.
    pub async fn start() -> Result<Self> {
        let host = bridge().await?;
        let listener = TcpListener::bind((host, 0)).await.with_context(|| format!("a mail relay cannot listen on {host}"))?;
        let address = listener.local_addr()?;
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let kept = mails.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move { converse(stream, &kept).await.unwrap_or_default() });
            }
        });
        Ok(Self { address, mails, task })
    }

    /// What was handed over so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(stream: TcpStream, kept: &Mutex<Vec<Mail>>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut mail = Mail::default();
    write.write_all(b"220 relay.example ESMTP\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let answer = match verb.as_str() {
            "EHLO" | "HELO" | "NOOP" | "RSET" => "250 relay.example",
            "MAIL" => {
                mail = Mail { from: path, ..Mail::default() };
                "250 ok"
            }
            "RCPT" => {
                mail.to.push(path);
                "250 ok"
            }
            "DATA" => {
                write.write_all(b"354 end with a dot\r\n").await?;
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    mail.text += line.strip_prefix('.').unwrap_or(&line);
                    mail.text.push('\n');
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut mail));
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "502 not known here",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
