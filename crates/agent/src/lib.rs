//! The agent: our hand on a machine that holds data.
