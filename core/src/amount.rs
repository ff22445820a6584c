//! Amounts as people write them: counts, bytes, durations. The one reader of all options and rules.
//!
//! `1000`, `64KiB`, `5m`: whole numbers only, a unit where the amount has one. Overflow and an
//! unknown unit are `None`, and the caller's error says what is allowed. `show_*` writes an amount
//! in the largest unit that keeps it whole, so that reading it gives the same amount again.

const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A whole number without a unit.
pub fn count(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Bytes, with a unit: `512B`, `64KiB`, `1MiB`, `1 GiB`.
pub fn bytes(text: &str) -> Option<u64> {
    in_units(text, &SIZE_UNITS)
}

/// Milliseconds of a duration with its unit: `500ms`, `10s`, `5m`, `1h`.
pub fn millis(text: &str) -> Option<u64> {
    in_units(text, &TIME_UNITS)
}

/// A number of bytes as [`bytes()`] reads it; without a unit where none keeps it whole.
pub fn show_bytes(bytes: u64) -> String {
    show(&SIZE_UNITS[..3], bytes).unwrap_or_else(|| bytes.to_string())
}

/// A number of milliseconds as [`millis`] reads it.
pub fn show_millis(millis: u64) -> String {
    // Any number of milliseconds is whole in them, but none is whole in no unit.
    show(&TIME_UNITS, millis).unwrap_or_else(|| "0s".to_owned())
}

fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(at);
    let unit = unit.trim_start_matches(' ');
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    count(digits)?.checked_mul(*factor)
}

/// `None` for zero too: it is whole in no unit.
fn show(units: &[(&str, u64)], value: u64) -> Option<String> {
    let (name, factor) =
        units.iter().find(|(_, factor)| value >= *factor && value % factor == 0)?;
    Some(format!("{}{name}", value / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_with_a_unit() {
        assert_eq!(
            (bytes("64KiB"), bytes("3B"), bytes("1 MiB"), millis("5m")),
            (Some(65_536), Some(3), Some(1 << 20), Some(300_000))
        );
        for bad in ["", "KiB", "1", "1kb", "1.5MiB", "-1B", "99999999999999999999B", "1 MiB x"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(
            (count("12"), count(""), count("+1"), millis("1d")),
            (Some(12), None, None, None)
        );
        assert_eq!(bytes("18446744073709551615GiB"), None);
    }

    #[test]
    fn amounts_are_shown_as_they_are_read() {
        assert_eq!((show_bytes(65_536), show_bytes(1_000)), ("64KiB".into(), "1000".into()));
        assert_eq!((show_millis(90_000), show_millis(1_500)), ("90s".into(), "1500ms".into()));
        assert_eq!((show_bytes(0), show_millis(0)), ("0".into(), "0s".into()));
    }
}
