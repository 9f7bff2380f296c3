//! The contract, case by case; every agent runs it.
