//! Pure route table: compile, look up, delta, running hash.
