//! Atoll's own small CA, mutual TLS, and sealed secrets.
