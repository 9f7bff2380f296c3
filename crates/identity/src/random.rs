//! Random secrets from the operating system's generator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Sensitive;
use rand::Rng as _;
use rand::TryRngCore as _;
use rand::distr::Alphanumeric;
use rand::rngs::OsRng;

/// A secret of letters and digits (5.95 bits each): for passwords that people type and for database accounts, whose quoting it cannot break.
#[must_use]
pub fn alphanumeric(characters: usize) -> Sensitive<String> {
    Sensitive::new(OsRng.unwrap_err().sample_iter(Alphanumeric).take(characters).map(char::from).collect())
}

/// A secret of so many random bytes in base64url: for keys and tokens that only machines read.
#[must_use]
pub fn token(bytes: usize) -> Sensitive<String> {
    let mut buffer = vec![0; bytes];
    fill(&mut buffer);
    Sensitive::new(URL_SAFE_NO_PAD.encode(buffer))
}

/// Fills a buffer.
pub(crate) fn fill(buffer: &mut [u8]) {
    use rand::RngCore as _;
    // A kernel without randomness is no place to make secrets: the panic of `unwrap_err` is the right answer there.
    OsRng.unwrap_err().fill_bytes(buffer);
}
