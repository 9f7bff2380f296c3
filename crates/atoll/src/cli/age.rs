//! Times as people read them.

use jiff::Timestamp;

/// How long ago, in its two largest units at most: `12s`, `3m`, `2h 5m`, `4d`.
pub fn since(then: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0);
    seconds_text(seconds)
}

/// A length of time.
pub fn seconds_text(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m"),
        3_600..86_400 if minutes == 0 => format!("{hours}h"),
        3_600..86_400 => format!("{hours}h {minutes}m"),
        _ if days < 10 && hours > 0 => format!("{days}d {hours}h"),
        _ => format!("{days}d"),
    }
}
