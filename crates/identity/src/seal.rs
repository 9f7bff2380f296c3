//! Secrets at rest: sealed under one key that stands in one private file.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use model::Sensitive;

use crate::{IdentityError, files, random};

/// What a key file and a sealed secret begin with.
const VERSION: &str = "v1.";
const KEY: usize = 32;
const NONCE: usize = 24;

/// Seals and opens secrets with XChaCha20-Poly1305. A sealed secret is bound to a name (that of its document), so it cannot be put in another's place.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    path: PathBuf,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({})", self.path.display())
    }
}

impl Sealer {
    /// Opens the key of a file, mode 0600; creates it where there is none.
    ///
    /// # Errors
    /// [`IdentityError`]: a file open to others, or one that holds no key.
    pub fn create_or_open(path: &Path) -> Result<Self, IdentityError> {
        if let Some(text) = files::read_private(path)? {
            return Self::from_text(path, &text);
        }
        if let Some(folder) = path.parent() {
            files::make_folder(folder)?;
        }
        let text = files::create_private(path, &format!("{VERSION}{}\n", random::token(KEY).reveal()))?;
        Self::from_text(path, &text)
    }

    /// Opens the key of a file that must be there: what was sealed under a lost key must not be followed by secrets under a new one.
    ///
    /// # Errors
    /// As [`Sealer::create_or_open`], and where there is no file.
    pub fn existing(path: &Path) -> Result<Self, IdentityError> {
        let text = files::read_private(path)?.ok_or_else(|| IdentityError::content(path, "there is no such file"))?;
        Self::from_text(path, &text)
    }

    fn from_text(path: &Path, text: &str) -> Result<Self, IdentityError> {
        let key = text.trim_end().strip_prefix(VERSION).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let key = key.ok_or_else(|| IdentityError::content(path, "it holds no key of this release"))?;
        let cipher = XChaCha20Poly1305::new_from_slice(&key).map_err(|_| IdentityError::content(path, "its key has another length"))?;
        Ok(Self { cipher, path: path.to_owned() })
    }

    /// Seals a secret for the document of this name. The same secret sealed twice looks different each time.
    #[must_use]
    pub fn seal(&self, name: &str, secret: &Sensitive<String>) -> String {
        let mut nonce = [0; NONCE];
        random::fill(&mut nonce);
        let payload = Payload { msg: secret.reveal().as_bytes(), aad: name.as_bytes() };
        #[expect(clippy::expect_used, reason = "the cipher refuses only messages of more than 256 GiB")]
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload).expect("a secret fits");
        format!("{VERSION}{}", URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what was sealed for the document of this name.
    ///
    /// # Errors
    /// [`IdentityError::Sealed`].
    pub fn open(&self, name: &str, sealed: &str) -> Result<Sensitive<String>, IdentityError> {
        let open = || {
            let bytes = URL_SAFE_NO_PAD.decode(sealed.strip_prefix(VERSION)?).ok()?;
            let (nonce, message) = bytes.split_at_checked(NONCE)?;
            let payload = Payload { msg: message, aad: name.as_bytes() };
            String::from_utf8(self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok()?).ok()
        };
        open().map(Sensitive::new).ok_or_else(|| IdentityError::Sealed(name.to_owned()))
    }
}
