//! Values of the SockJS options.

use super::value;
use std::time::Duration;
use stompede_core::sockjs::endpoint::Transports;

/// Prefixes, separated by commas, or `off`.
pub fn prefixes(text: &str) -> Result<Vec<String>, String> {
    if text == "off" {
        return Ok(Vec::new());
    }
    let prefixes: Vec<String> = text.split(',').map(str::to_owned).collect();
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'"' | b'\\');
    let is_prefix = |prefix: &String| {
        let is_path = prefix.starts_with('/') && !prefix.ends_with('/') && prefix != "/ws";
        is_path && prefix.bytes().all(is_plain)
    };
    if prefixes.iter().all(is_prefix) {
        return Ok(prefixes);
    }
    Err("allowed is off, or paths such as /sockjs other than /ws, separated by commas".to_owned())
}

/// Writes what [`prefixes`] reads.
pub fn show_prefixes(prefixes: Vec<String>) -> String {
    if prefixes.is_empty() {
        return "off".to_owned();
    }
    prefixes.join(",")
}

type Field = fn(&mut Transports) -> &mut bool;

const TRANSPORTS: [(&str, Field); 8] = [
    ("websocket", |on| &mut on.websocket),
    ("raw-websocket", |on| &mut on.raw_websocket),
    ("xhr", |on| &mut on.xhr),
    ("xhr-streaming", |on| &mut on.xhr_streaming),
    ("eventsource", |on| &mut on.eventsource),
    ("htmlfile", |on| &mut on.htmlfile),
    ("jsonp", |on| &mut on.jsonp),
    ("iframe", |on| &mut on.iframe),
];

const NONE: Transports = Transports {
    websocket: false,
    raw_websocket: false,
    xhr: false,
    xhr_streaming: false,
    eventsource: false,
    htmlfile: false,
    jsonp: false,
    iframe: false,
};

/// The names of transports that are on, separated by commas.
pub fn transports(text: &str) -> Result<Transports, String> {
    let mut transports = NONE;
    for name in text.split(',') {
        let Some((_, field)) = TRANSPORTS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = TRANSPORTS.iter().map(|(known, _)| *known).collect();
            return Err(format!("allowed are {}", known.join(", ")));
        };
        *field(&mut transports) = true;
    }
    Ok(transports)
}

/// Writes what [`transports`] reads.
pub fn show_transports(mut transports: Transports) -> String {
    let on = TRANSPORTS.iter().filter(|(_, field)| *field(&mut transports));
    on.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// A duration in whole milliseconds.
pub fn ms(text: &str) -> Result<u32, String> {
    let duration = value::duration(text)?;
    u32::try_from(duration.as_millis()).map_err(|_| "the limit is 49 days".to_owned())
}

/// Writes what [`ms`] reads.
pub fn show_ms(ms: u32) -> String {
    value::show_duration(Duration::from_millis(ms.into()))
}

/// A size below 4 GiB.
pub fn bytes(text: &str) -> Result<u32, String> {
    value::size(text)
}

/// Where the iframe page loads its client from.
pub fn client_url(text: &str) -> Result<String, String> {
    if text.starts_with("http") || text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err("allowed is an http address or a path".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_paths() {
        assert_eq!(prefixes("off"), Ok(Vec::new()));
        assert_eq!(prefixes("/a,/b/c"), Ok(vec!["/a".to_owned(), "/b/c".to_owned()]));
        for bad in ["", "a", "/", "/a/", "/ws", "/a,", "/a b", "/a?b", "/a%20"] {
            assert!(prefixes(bad).is_err(), "{bad}");
        }
        assert_eq!(show_prefixes(Vec::new()), "off");
    }

    #[test]
    fn transports_are_named() {
        let seen = transports("xhr,jsonp").unwrap();
        assert!(seen.xhr && seen.jsonp && !seen.websocket && !seen.eventsource);
        assert_eq!(show_transports(seen), "xhr,jsonp");
        assert!(transports("xhr,polling").unwrap_err().contains("xhr-streaming"));
    }
}
