//! Amounts in the text of a rule: bytes, durations, rates.
//!
//! The same units as the options of the server: `64KiB`, `5m`, and `5/s` for a rate. Whole numbers
//! only; overflow and an unknown unit are `None`, and the caller's error says what is allowed.

const SIZE_UNITS: [(&str, u64); 4] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// A whole number without a unit.
pub fn count(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Bytes, with a unit: `512B`, `64KiB`, `1MiB`, `1GiB`.
pub fn bytes(text: &str) -> Option<u64> {
    in_units(text, &SIZE_UNITS)
}

/// Milliseconds of a duration with its unit: `500ms`, `10s`, `5m`, `1h`.
pub fn millis(text: &str) -> Option<u64> {
    in_units(text, &TIME_UNITS)
}

fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    count(digits)?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_with_a_unit() {
        assert_eq!(
            (bytes("64KiB"), bytes("3B"), millis("5m")),
            (Some(65_536), Some(3), Some(300_000))
        );
        for bad in ["", "KiB", "1", "1kb", "1.5MiB", "-1B", "99999999999999999999B", "1 B"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(
            (count("12"), count(""), count("+1"), millis("1d")),
            (Some(12), None, None, None)
        );
        assert_eq!(bytes("18446744073709551615GiB"), None);
    }
}
