//! Session tickets that every edge can open: sealed under keys that control makes and rotates.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use jiff::Timestamp;
use rand::RngCore as _;
use rustls::server::ProducesTickets;
use sha2::{Digest as _, Sha256};

use crate::TicketKeys;

/// What names a key in a ticket.
const ID: usize = 8;
const NONCE: usize = 24;
/// How long a visitor may come back with a ticket. Keys must live longer after they were last used to seal.
const LIFETIME: u32 = 12 * 3600;

/// Seals and opens tickets; without keys there are none.
#[derive(Default)]
pub struct Tickets(RwLock<Arc<Vec<Key>>>);

struct Key {
    id: [u8; ID],
    from: i64,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tickets({})", self.keys().len())
    }
}

impl Tickets {
    /// Uses these keys from now on. One that is no key is passed over.
    pub fn set(&self, keys: &TicketKeys) {
        let keys = keys.0.iter().filter_map(|key| {
            let octets = URL_SAFE_NO_PAD.decode(key.key.reveal()).ok()?;
            let cipher = XChaCha20Poly1305::new_from_slice(&octets).ok()?;
            let mut id = [0; ID];
            id.copy_from_slice(&Sha256::digest(&octets)[..ID]);
            Some(Key { id, from: key.from.as_second(), cipher })
        });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys.collect());
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys().is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys();
        let now = Timestamp::now().as_second();
        // The newest whose time has come. A clock that is far behind still seals, with the oldest.
        let key = keys.iter().filter(|key| key.from <= now).max_by_key(|key| key.from).or_else(|| keys.first())?;
        let mut nonce = [0; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let sealed = key.cipher.encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: &key.id }).ok()?;
        Some([key.id.as_slice(), &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_at_checked(ID)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE)?;
        let keys = self.keys();
        let key = keys.iter().find(|key| key.id == id)?;
        key.cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: id }).ok()
    }
}
