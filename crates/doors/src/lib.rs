//! Front doors: wishes come in, status goes out.
//!
//! Purpose: the API of `api::v1` over a unix socket, in front of the store and the engine's logs. A door turns wishes into documents and tells what
//! documents say; it decides nothing about cells and tenants itself (that is `plan`'s) and acts on nothing (that is control's).
//! Invariants: nothing is written without the compares of what it was decided on; a plan is applied as it was shown or not at all; status codes are
//! chosen here and nowhere else; sealed secrets are never answered, opened ones exactly once; who asks is known by the kernel's word, not by theirs.
//! Entry points: [`Doors::new`], [`serve`], [`serve_tcp`]. Status and explanations are the pure functions of [`status`] and [`explain`].

mod asked;
mod backup;
pub mod codes;
mod documents;
pub mod explain;
mod logs;
mod mirror;
mod plans;
mod purge;
mod refusal;
mod reveal;
mod router;
mod server;
pub mod status;
mod tcp;
mod usage;
mod wire;
mod wishes;

use std::sync::Arc;

use cache::orders::Orders;
use engine::SharedEngine;
use jiff::Timestamp;
use ledger::Ledger;
use model::v1alpha1::SealedSecret;
use model::{DocumentName, PlatformName, Sensitive};
use store::SharedStore;
use tokio_util::sync::CancellationToken;

pub use backup::Copies;
pub use mirror::State;
pub use server::{Options, ServeError, serve};
pub use tcp::{Operators, TcpDoor, serve_tcp};

/// Control's finalizer on tenants: their data goes before their document does.
pub const TENANT_FINALIZER: &str = "atoll.dev/tenant";
/// Control's finalizer on cells: what runs goes before their document does.
pub const CELL_FINALIZER: &str = "atoll.dev/cell";

/// Opens sealed secrets.
pub trait Reveal: Send + Sync {
    /// Opens what was sealed for the document of this name; its plain form is a JSON object of texts.
    ///
    /// # Errors
    /// A sentence that says why it cannot be opened.
    fn open(&self, name: &DocumentName, sealed: &SealedSecret) -> Result<Sensitive<String>, String>;
}

/// What the doors stand in front of. Cheap to clone.
#[derive(Clone)]
pub struct Doors(Arc<Inner>);

struct Inner {
    store: SharedStore,
    engine: SharedEngine,
    reveal: Arc<dyn Reveal>,
    copies: Option<Arc<dyn Copies>>,
    platform: PlatformName,
    active: Box<dyn Fn() -> bool + Send + Sync>,
    looked: Box<dyn Fn() -> bool + Send + Sync>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    mirror: Arc<mirror::Mirror>,
    plans: plans::Kept,
    orders: Arc<Orders>,
    ledger: Option<Arc<dyn Ledger>>,
    /// Ends what would go on for ever: watches and followed logs.
    stop: CancellationToken,
}

impl Doors {
    /// Doors in front of this store. The engine is asked for logs only.
    #[must_use]
    pub fn new(store: SharedStore, engine: SharedEngine, reveal: Arc<dyn Reveal>, platform: PlatformName) -> Self {
        Self(Arc::new(Inner {
            store,
            engine,
            reveal,
            copies: None,
            platform,
            active: Box::new(|| true),
            looked: Box::new(|| true),
            clock: Box::new(Timestamp::now),
            mirror: Arc::default(),
            plans: plans::Kept::default(),
            orders: Arc::new(Orders::new(String::new())),
            ledger: None,
            stop: CancellationToken::new(),
        }))
    }

    /// The same, with an answer to "does this control hold the lease and work?"; taken for true without one.
    ///
    /// Call it before the doors are shared; afterwards it has no effect.
    #[must_use]
    pub fn active(mut self, active: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.active = Box::new(active);
        }
        self
    }

    /// The same, with an answer to "has this control looked at every cell since it works?"; taken for true without one. Call it before the doors are shared.
    #[must_use]
    pub fn looked(mut self, looked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.looked = Box::new(looked);
        }
        self
    }

    /// The same, with a store that can be copied while it works. Call it before the doors are shared.
    #[must_use]
    pub fn copies(mut self, copies: Arc<dyn Copies>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.copies = Some(copies);
        }
        self
    }

    /// The same, giving orders to edges here; without it they reach nobody. Call it before the doors are shared.
    #[must_use]
    pub fn orders(mut self, orders: Arc<Orders>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.orders = orders;
        }
        self
    }

    /// The same, telling what tenants took by this ledger. Call it before the doors are shared.
    #[must_use]
    pub fn ledger(mut self, ledger: Arc<dyn Ledger>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.ledger = Some(ledger);
        }
        self
    }

    /// The same, living by this clock.
    #[cfg(test)]
    fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.clock = Box::new(clock);
        }
        self
    }
}

#[cfg(test)]
mod tests;
