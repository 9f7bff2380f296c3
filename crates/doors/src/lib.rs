//! Front doors: the HTTP API in front of the store.
