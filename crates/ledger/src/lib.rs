//! The ledger: what each tenant took of the edges, as facts that cost and availability can be computed from later.
//!
//! Purpose: an edge counts per tenant and hands its counts over in numbered [`Report`]s; control keeps them by time, edge and tenant. No tenant ever stands in a
//! label of Prometheus: a fleet has too many.
//! Invariants: facts are sums and only ever added, so making their time coarser changes no total; a report is counted once however often it is sent; what had to be
//! given up is a number, never silence.
//! Entry points: [`Outbox`] (an edge's side), [`Ledger`] (the port of whoever keeps them), [`share`].

mod counts;
mod outbox;
mod port;
mod report;

pub use counts::{COLUMNS, Counts, share};
pub use outbox::Outbox;
pub use port::{By, Ledger, LedgerError, Line, Query, Taken};
pub use report::{Grain, MOST_ROWS, Report, Row, Span};
