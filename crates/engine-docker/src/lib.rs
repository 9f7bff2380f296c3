//! The engine port on Docker Engine.
