//! Pure Galera rules: who bootstraps, who writes, who may leave.
