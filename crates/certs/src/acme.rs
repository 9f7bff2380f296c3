//! .
/// .
pub struct Account;
