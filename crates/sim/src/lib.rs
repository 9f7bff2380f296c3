//! Seeded world: control on fakes and a fake clock.
