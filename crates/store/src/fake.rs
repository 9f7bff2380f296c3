//! The store in memory, with a fault plan.
