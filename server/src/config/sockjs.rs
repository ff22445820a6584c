//! Values of the SockJS options.

use super::value;
use std::time::Duration;
use stompede_core::http::origin::OriginPolicy;
use stompede_core::sockjs::endpoint::{Endpoint, Transports};

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

/// One endpoint: `prefix[,option=value]...`, where the options are those of `--sockjs-...` without
/// that prefix, `queue-max` and `origins`, and `+` stands between the values of a list. What it
/// does not say is as in `base`.
///
/// # Errors
/// What is wrong with it, and what is allowed.
pub fn endpoint(text: &str, base: &Endpoint) -> Result<Endpoint, String> {
    let mut parts = text.split(',');
    let prefix = prefixes(parts.next().unwrap_or_default())?.pop();
    let prefix = prefix.ok_or("allowed is a path such as /sockjs in front, not off")?;
    let mut endpoint = Endpoint { prefix, ..base.clone() };
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let list = || value.replace('+', ",");
        match name {
            "transports" => endpoint.transports = transports(&list())?,
            "response-max" => endpoint.response_bytes_max = bytes(value)?,
            "heartbeat" => endpoint.heartbeat_ms = ms(value)?,
            "disconnect-delay" => endpoint.disconnect_delay_ms = ms(value)?,
            "tombstone" => endpoint.tombstone_ms = ms(value)?,
            "cookie" => endpoint.cookie = value::switch(value)?,
            "client-url" => endpoint.client_url = client_url(value)?,
            "base-url" => endpoint.base_url = Some(value.to_owned()),
            "queue-max" => endpoint.queue_bytes_max = Some(value::size(value)?),
            "origins" => {
                let origins =
                    list().split(',').map(value::origin).collect::<Result<Vec<_>, _>>()?;
                OriginPolicy::parse(&origins)?;
                endpoint.allowed_origins = Some(origins);
            }
            _ => {
                return Err(format!(
                    "seen {name:?}; allowed are transports, response-max, heartbeat, \
                     disconnect-delay, tombstone, cookie, client-url, base-url, queue-max, origins"
                ));
            }
        }
    }
    Ok(endpoint)
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
    fn an_endpoint_has_options_of_its_own() {
        let base = Endpoint { heartbeat_ms: 7_000, ..Endpoint::default() };
        let text = "/old,transports=xhr+jsonp,response-max=4KiB,disconnect-delay=9s,tombstone=0s,\
            cookie=true,client-url=/s.js,base-url=/x,queue-max=64KiB,origins=https://a.b+http://c";
        let endpoint = endpoint(text, &base).unwrap();
        let expected = Endpoint {
            prefix: "/old".to_owned(),
            transports: transports("xhr,jsonp").unwrap(),
            response_bytes_max: 4_096,
            heartbeat_ms: 7_000,
            disconnect_delay_ms: 9_000,
            tombstone_ms: 0,
            cookie: true,
            client_url: "/s.js".to_owned(),
            base_url: Some("/x".to_owned()),
            allowed_origins: Some(vec!["https://a.b".to_owned(), "http://c".to_owned()]),
            queue_bytes_max: Some(64 << 10),
        };
        assert_eq!(endpoint, expected);
        assert_eq!(super::endpoint("/plain", &base).unwrap().heartbeat_ms, 7_000);
        for bad in [
            "",
            "off",
            "a",
            "/ws",
            "/a,",
            "/a,x=1",
            "/a,transports",
            "/a,transports=polling",
            "/a,heartbeat=1",
            "/a,cookie=maybe",
            "/a,origins=*+http://a",
            "/a,queue-max=big",
        ] {
            assert!(super::endpoint(bad, &base).is_err(), "{bad}");
        }
    }

    #[test]
    fn transports_are_named() {
        let seen = transports("xhr,jsonp").unwrap();
        assert!(seen.xhr && seen.jsonp && !seen.websocket && !seen.eventsource);
        assert_eq!(show_transports(seen), "xhr,jsonp");
        assert!(transports("xhr,polling").unwrap_err().contains("xhr-streaming"));
    }
}
