//! The newest order about each tenant of a cell: what a late order is refused by.

use std::collections::BTreeMap;

use model::Generation;
use serde::{Deserialize, Serialize};

use crate::{DataError, TenantAccess, TenantOrder};

/// Numbers of tenants' orders. An agent keeps them as durably as the accounts themselves, and notes an order before it follows it.
///
/// Invariant: it does not grow with tenants that are gone. One number stands for all of them, so an order about a tenant that is not known may be
/// refused although nothing newer was said of that one; whoever asks again with the next number is heard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantNumbers {
    /// By schema, of those that stand.
    standing: BTreeMap<String, Generation>,
    /// The newest order that made one go.
    gone: Generation,
}

impl TenantNumbers {
    /// Notes an order; the same number again may pass.
    ///
    /// # Errors
    /// [`DataError::Older`] when a newer one was noted before.
    pub fn take(&mut self, order: &TenantOrder) -> Result<(), DataError> {
        let offered = order.generation;
        let held = self.standing.get(&order.schema).copied().unwrap_or(self.gone);
        if held > offered {
            return Err(DataError::Older { held, offered });
        }
        if order.access == TenantAccess::Gone {
            self.standing.remove(&order.schema);
            self.gone = self.gone.max(offered);
        } else {
            self.standing.insert(order.schema.clone(), offered);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say what they expect by failing")]

    use super::*;

    fn order(schema: &str, access: TenantAccess, number: u64) -> TenantOrder {
        let password = model::Sensitive::new("p".to_owned());
        TenantOrder { schema: schema.to_owned(), password, connections: 1, access, generation: Generation(number) }
    }

    #[test]
    fn what_is_gone_stays_gone_for_late_orders_and_leaves_no_trace_of_its_own() {
        let mut numbers = TenantNumbers::default();
        for number in 1..100 {
            let schema = format!("t_{number}");
            numbers.take(&order(&schema, TenantAccess::Open, 3 * number)).unwrap();
            numbers.take(&order(&schema, TenantAccess::Gone, 3 * number + 2)).unwrap();
            let late = numbers.take(&order(&schema, TenantAccess::Open, 3 * number + 1));
            assert_eq!(late, Err(DataError::Older { held: Generation(3 * number + 2), offered: Generation(3 * number + 1) }));
        }
        assert!(numbers.standing.is_empty());
    }

    #[test]
    fn those_that_stand_do_not_hold_each_other_up() {
        let mut numbers = TenantNumbers::default();
        numbers.take(&order("t_a", TenantAccess::Open, 5)).unwrap();
        numbers.take(&order("t_b", TenantAccess::Open, 3)).unwrap();
        numbers.take(&order("t_b", TenantAccess::Gone, 9)).unwrap();
        numbers.take(&order("t_a", TenantAccess::Locked, 6)).unwrap();
        assert!(numbers.take(&order("t_a", TenantAccess::Open, 5)).is_err());
        numbers.take(&order("t_a", TenantAccess::Locked, 6)).unwrap();
    }
}
