//! The store port on SQLite (WAL).
