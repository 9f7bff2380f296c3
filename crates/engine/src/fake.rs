//! The engine in memory, with a fault plan.
