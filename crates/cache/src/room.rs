//! How much each tenant may keep when there is not room for all.

/// The level down to which every amount is cut so that the whole fits: who has less keeps all of it, who has more keeps so much (max-min fairness).
pub(crate) fn level(mut amounts: Vec<u64>, room: u64) -> u64 {
    amounts.sort_unstable();
    let (mut left, mut count) = (room, amounts.len() as u64);
    for amount in amounts {
        let share = left / count;
        if amount > share {
            return share;
        }
        (left, count) = (left - amount, count - 1);
    }
    u64::MAX
}
