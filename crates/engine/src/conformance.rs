//! The contract, case by case; every engine runs it.
