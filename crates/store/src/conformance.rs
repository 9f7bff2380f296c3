//! The contract, case by case; every store runs it.
