//! The gate: a cell's own balancer and only door.
