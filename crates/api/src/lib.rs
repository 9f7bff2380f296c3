//! Wire types of control's API and a client for it.
