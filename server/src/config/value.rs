//! Values of options as people write them: sizes, durations, switches, addresses, origins.
//!
//! Each parser is strict and its error says what is allowed, because a configuration that was
//! guessed right today is guessed wrong after the next release. A duration needs its unit; a size
//! without one is in bytes. `show_*` writes a value so that parsing it gives the same value again.
//! Nothing here touches a file or the environment.

use super::{IoChoice, LogFormat};
use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;
use stompede_core::amount;

/// A number of bytes: `65536`, `64KiB`, `1MiB`, `2GiB`, in whatever integer the option has.
///
/// # Errors
/// Not a whole number with a known unit, or too large for the type.
pub fn size<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    const ALLOWED: &str = "allowed is a whole number of bytes, or one with KiB, MiB or GiB";
    let bytes = amount::count(text).or_else(|| amount::bytes(text));
    let bytes = bytes.ok_or_else(|| match meant_size(text) {
        Some(meant) => format!("{ALLOWED}: did you mean {meant}?"),
        None => ALLOWED.to_owned(),
    })?;
    T::try_from(bytes).map_err(|_| "this is more bytes than the option can hold".to_owned())
}

/// `10MB`, `10mb` and `10M` are near to `10MiB`.
fn meant_size(text: &str) -> Option<String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = unit.trim().to_ascii_uppercase();
    let letter = unit.trim_end_matches("IB").trim_end_matches('B');
    let is_meant = !digits.is_empty() && ["K", "M", "G"].contains(&letter);
    is_meant.then(|| format!("{digits}{letter}iB"))
}

/// A size that makes sense from `min` bytes on; `why` says what happens below it.
///
/// # Errors
/// As [`size`], and for fewer bytes.
pub fn size_from(text: &str, min: usize, why: &str) -> Result<usize, String> {
    match size(text)? {
        bytes if bytes < min => Err(format!("{why}: give {} or more", show_size(min as u64))),
        bytes => Ok(bytes),
    }
}

/// A size as [`size`] reads it, in the largest unit that keeps it whole.
pub fn show_size<T: TryInto<u64>>(bytes: T) -> String {
    amount::show_bytes(bytes.try_into().unwrap_or(u64::MAX))
}

/// A duration with its unit: `500ms`, `10s`, `2m`, `1h`. Largest value: a year.
///
/// # Errors
/// No unit, an unknown one, no whole number, or more than a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "allowed is a whole number with its unit, ms, s, m or h, up to 8760h";
    const YEAR_MS: u64 = 8_760 * 3_600_000;
    let millis = amount::millis(text).filter(|millis| *millis <= YEAR_MS);
    let millis = millis.ok_or_else(|| ALLOWED.to_owned())?;
    Ok(Duration::from_millis(millis))
}

/// A duration above zero, as a deadline must be.
///
/// # Errors
/// As [`duration`], and for zero.
pub fn deadline(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => {
            Err("a deadline of zero ends everything at once: give 1ms or more".into())
        }
        deadline => Ok(deadline),
    }
}

/// A duration as [`duration`] reads it, in the largest unit that keeps it whole.
pub fn show_duration(duration: Duration) -> String {
    amount::show_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A whole number from 0.
///
/// # Errors
/// Not one, or too large for the type.
pub fn count<T: FromStr>(text: &str) -> Result<T, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("allowed is a whole number from 0".to_owned());
    }
    text.parse().map_err(|_| "this is more than the option can hold".to_owned())
}

/// A whole number from 0, where `auto` is 0.
///
/// # Errors
/// As [`count`].
pub fn count_or_auto(text: &str) -> Result<usize, String> {
    match text {
        "auto" => Ok(0),
        _ => count(text).map_err(|why| format!("{why}, or auto")),
    }
}

/// `true` or `false`.
///
/// # Errors
/// Anything else.
pub fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "allowed is true or false".to_owned())
}

/// An address and port: `127.0.0.1:8080`, `[::1]:8080`.
///
/// # Errors
/// A name, or a port missing.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "allowed is IP:PORT, such as 0.0.0.0:8080 or [::]:8080; names are not looked up".to_owned()
    })
}

/// An address and port, or `off`.
///
/// # Errors
/// As [`address`].
pub fn address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "off" => Ok(None),
        _ => address(text).map(Some).map_err(|why| format!("{why}; off disables it")),
    }
}

/// What is there, or `off`.
pub fn show_or_off<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "off".to_owned(), |value| value.to_string())
}

/// An origin as browsers send it (RFC 6454 §6.2), in lower case, or `*`.
///
/// # Errors
/// No `http://` or `https://`, or something after the host and port.
pub fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']) => {
            Ok(lower)
        }
        _ => Err("allowed is * or http(s)://HOST[:PORT] with nothing after it".to_owned()),
    }
}

/// The candidate nearest to `seen` by edit distance, if it is near enough to be meant.
pub fn nearest<'a>(seen: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (seen.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (edit_distance(seen, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters, one row at a time.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The value of `io`.
pub fn io(text: &str) -> Result<IoChoice, String> {
    [IoChoice::Auto, IoChoice::Uring, IoChoice::Epoll]
        .into_iter()
        .find(|choice| choice.name() == text)
        .ok_or_else(|| "allowed is auto, uring or epoll".to_owned())
}

/// The value of `log-format`.
pub fn log_format(text: &str) -> Result<LogFormat, String> {
    [LogFormat::Text, LogFormat::Json]
        .into_iter()
        .find(|format| format.name() == text)
        .ok_or_else(|| "allowed is text or json".to_owned())
}

/// The value of `log-level`.
pub fn log_level(text: &str) -> Result<String, String> {
    if ["off", "error", "warn", "info", "debug", "trace"].contains(&text) {
        return Ok(text.to_owned());
    }
    Err("allowed is off, error, warn, info, debug or trace".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("65536"), Ok(65_536_u64));
        assert_eq!(size("512KiB"), Ok(524_288_usize));
        assert_eq!(size("1 MiB"), Ok(1_u64 << 20));
        for bad in ["", "KiB", "1KB", "1kib", "-1", "1.5MiB", "99999999999GiB", "1 MiB x"] {
            assert!(size::<u64>(bad).is_err(), "{bad}");
        }
        assert!(size::<u32>("5GiB").is_err());
    }

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "10sec", "-1s", "1.5s", "9999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(deadline("0s").is_err());
    }

    #[test]
    fn a_size_in_another_unit_is_told_the_right_one() {
        for (text, meant) in [("10MB", "10MiB"), ("3 kb", "3KiB"), ("2G", "2GiB"), ("1mib", "1MiB")]
        {
            let error = size::<u64>(text).expect_err(text);
            assert!(error.ends_with(&format!("did you mean {meant}?")), "{error}");
        }
        for text in ["MB", "10TB", "many", "1.5MB"] {
            assert!(!size::<u64>(text).expect_err(text).contains("did you mean"), "{text}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port_only() {
        assert_eq!(origin("HTTPS://Example.org:8443"), Ok("https://example.org:8443".to_owned()));
        for bad in ["", "example.org", "https://a/", "https://", "https://*.a", "null"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_or_none() {
        let names = ["listen", "stomp-listen", "shards"];
        assert_eq!(nearest("lisen", names.into_iter()), Some("listen"));
        assert_eq!(nearest("shard", names.into_iter()), Some("shards"));
        assert_eq!(nearest("zebra", names.into_iter()), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    proptest! {
        #[test]
        fn shown_sizes_read_back(bytes: u64) {
            prop_assert_eq!(size::<u64>(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn shown_durations_read_back(millis in 0_u64..31_536_000_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(value)), Ok(value));
        }
    }
}
