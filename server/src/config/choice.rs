//! Values of options that are neither sizes nor times: numbers with a word, one of a few words,
//! paths, names. Each comes as a pair, from text and back to the same text.

use super::{value, Compression};
use std::path::PathBuf;
use stompede_core::broker::destination::{Profile, QUEUE_PREFIX, TOPIC_PREFIX};
use stompede_core::broker::pattern::{Dialect, Pattern};
use stompede_core::broker::queue::Overflow;
use stompede_core::broker::user::is_usable_name;
use stompede_core::http::forwarded::ClientHeader;
use stompede_core::limits::Limits;

pub(super) fn shards(text: &str) -> Result<usize, String> {
    match value::count_or_auto(text)? {
        0 if text != "auto" => Err("no shard serves nobody: give 1 or more, or auto".to_owned()),
        shards if shards <= 4_096 => Ok(shards),
        _ => Err("the limit is 4096".to_owned()),
    }
}

pub(super) fn show_or_auto(count: usize) -> String {
    if count == 0 {
        "auto".to_owned()
    } else {
        count.to_string()
    }
}

pub(super) fn frame_bytes(text: &str) -> Result<usize, String> {
    value::size_from(text, 1 << 10, "a frame of less has no room for its headers")
}

pub(super) fn outbound_bytes(text: &str) -> Result<usize, String> {
    value::size_from(text, 4 << 10, "with less every client is soon too slow")
}

pub(super) fn drain_rate(text: &str) -> Result<u32, String> {
    match value::count(text)? {
        0 => Err("a drain rate of 0 never ends: give 1 or more".to_owned()),
        rate => Ok(rate),
    }
}

pub(super) fn compression(text: &str) -> Result<Compression, String> {
    [Compression::Off, Compression::Shared]
        .into_iter()
        .find(|choice| choice.name() == text)
        .ok_or_else(|| "allowed is off or shared".to_owned())
}

pub(super) fn client_header(text: &str) -> Result<ClientHeader, String> {
    [ClientHeader::XForwardedFor, ClientHeader::Forwarded]
        .into_iter()
        .find(|header| header.name() == text)
        .ok_or_else(|| "allowed is x-forwarded-for or forwarded".to_owned())
}

pub(super) fn profile(text: &str) -> Result<Profile, String> {
    text.parse().map_err(str::to_owned)
}

pub(super) fn show_profile(profile: Profile) -> String {
    profile.name().to_owned()
}

/// Only the first word: what the rest means depends on the profile.
pub(super) fn rule(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.contains(';') {
        return Err("a ; ends a rule, and only in the environment: give each rule as a value of \
                    its own; in a destination ? stands for it"
            .to_owned());
    }
    match text.split_once(' ') {
        Some(("allow" | "deny", _)) => Ok(text.to_owned()),
        _ => Err("allowed is allow or deny, then who, verb and destination".to_owned()),
    }
}

pub(super) fn overflow(text: &str) -> Result<Overflow, String> {
    match text {
        "reject" => Ok(Overflow::Reject),
        "drop-head" => Ok(Overflow::DropHead),
        _ => Err("allowed is reject or drop-head".to_owned()),
    }
}

pub(super) fn show_overflow(overflow: Overflow) -> String {
    let name = match overflow {
        Overflow::Reject => "reject",
        Overflow::DropHead => "drop-head",
    };
    name.to_owned()
}

pub(super) fn destination(text: &str) -> Result<Option<String>, String> {
    let is_known = [QUEUE_PREFIX, TOPIC_PREFIX]
        .iter()
        .any(|prefix| text.strip_prefix(prefix).is_some_and(|name| !name.is_empty()));
    if !is_known || text.chars().any(char::is_control) || Dialect::Ant.is_pattern(text) {
        return Err("allowed is one /queue/... or /topic/...".to_owned());
    }
    Ok(Some(text.to_owned()))
}

pub(super) fn path(text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() {
        return Err("allowed is a path that is not empty".to_owned());
    }
    Ok(Some(PathBuf::from(text)))
}

pub(super) fn show_path(path: Option<PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// The pattern of a rule about topics.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text, &Limits::default()).map_err(|error| format!("{text}: {error}"))
}

pub(super) fn name(text: &str) -> Result<Option<String>, String> {
    match is_usable_name(text) {
        true => Ok(Some(text.to_owned())),
        false => Err("allowed is the name of a user, without control characters".to_owned()),
    }
}

pub(super) fn user(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok((name.to_owned(), password.to_owned()))
        }
        _ => Err("allowed is NAME:PASSWORD, neither of them empty".to_owned()),
    }
}
