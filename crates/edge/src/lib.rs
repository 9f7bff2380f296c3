//! The edge: domain to tenant to cell.
