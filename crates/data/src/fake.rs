//! The agent in memory, with a fault plan.
