//! Conversions between number types that saturate instead of wrapping.

/// Nearest integer, halves away from zero; saturates, and NaN becomes 0.
#[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate")]
pub(crate) fn round(value: f64) -> i64 {
    value.round() as i64
}

/// The integer part; saturates, and NaN and negative numbers become 0.
#[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate")]
pub(crate) fn truncate(value: f64) -> u64 {
    value as u64
}

/// As [`round`] for numbers of seats.
pub(crate) fn round_seats(value: f64) -> u32 {
    u32::try_from(round(value).max(0)).unwrap_or(u32::MAX)
}

/// As [`truncate`] of the next greater integer, for numbers of seats.
pub(crate) fn ceil_seats(value: f64) -> u32 {
    u32::try_from(truncate(value.ceil())).unwrap_or(u32::MAX)
}

/// The nearest float.
pub(crate) const fn float(value: u64) -> f64 {
    value as f64
}

/// An index as the 32-bit number that the tables keep; sizes are limited far below.
pub(crate) fn index(value: usize) -> u32 {
    u32::try_from(value).expect("tables have fewer than 2^32 rows")
}
