//! Values of the SockJS options.

use super::{options, value, Config};
use std::time::Duration;
use stompede_core::http::origin::OriginPolicy;
use stompede_core::sockjs::endpoint::Transports;

/// Prefixes, separated by commas, or `off`.
pub fn prefixes(text: &str) -> Result<Vec<String>, String> {
    if text == "off" {
        return Ok(Vec::new());
    }
    let prefixes: Vec<String> = text.split(',').map(str::to_owned).collect();
    if prefixes.iter().all(|prefix| is_prefix(prefix)) {
        return Ok(prefixes);
    }
    Err("allowed is off, or paths such as /sockjs other than /ws, separated by commas".to_owned())
}

fn is_prefix(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'"' | b'\\');
    let is_path = text.starts_with('/') && !text.ends_with('/') && text != "/ws";
    is_path && text.bytes().all(is_plain)
}

/// What an endpoint may have of its own, beside `origins`: the options `sockjs-...` that are not
/// about the sessions of all endpoints together.
const OWN: [&str; 14] = [
    "transports",
    "response-max",
    "heartbeat",
    "disconnect-delay",
    "tombstone",
    "cookie",
    "client-url",
    "base-url",
    "queue-max",
    "window-max",
    "payload-max",
    "payload-messages-max",
    "id-max",
    "callback-max",
];

/// The path of an endpoint with options of its own, and these options.
pub fn words(text: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut words = text.split_whitespace();
    (words.next().unwrap_or_default(), words)
}

/// What `config` is for one endpoint: `/path name=value ...`, with the names of [`OWN`] and
/// `origins`, a list separated by commas. An option that is not named is as for all.
pub fn endpoint(config: &Config, text: &str) -> Result<Config, String> {
    let (prefix, settings) = words(text);
    if !is_prefix(prefix) {
        return Err("allowed is a path such as /chat other than /ws, then NAME=VALUE".to_owned());
    }
    let mut own = config.clone();
    prefix.clone_into(&mut own.sockjs.prefix);
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, "true"));
        if name == "origins" {
            let origins: Result<_, String> = value.split(',').map(value::origin).collect();
            own.sockjs.allowed_origins = origins
                .and_then(|origins: Vec<_>| OriginPolicy::parse(&origins).map(|_| Some(origins)))
                .map_err(|why| format!("of {setting}: {why}"))?;
            continue;
        }
        let option = OWN.contains(&name).then(|| options::find(&format!("sockjs-{name}")));
        let Some(option) = option.flatten() else {
            return Err(format!("{name} is none of origins, {}", OWN.join(", ")));
        };
        (option.apply)(&mut own, value).map_err(|why| format!("of {setting}: {why}"))?;
    }
    Ok(own)
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
    fn an_endpoint_has_options_of_its_own() {
        let mut config = Config::default();
        config.sockjs.heartbeat_ms = 7_000;
        let text = "/chat transports=xhr,jsonp cookie origins=https://a,https://b queue-max=4KiB";
        let own = endpoint(&config, text).unwrap();
        assert_eq!(own.sockjs.prefix, "/chat");
        assert!(own.sockjs.cookie && own.sockjs.transports.jsonp && !own.sockjs.transports.iframe);
        assert_eq!(own.sockjs.heartbeat_ms, 7_000);
        assert_eq!(own.limits.sockjs_queue_bytes_max, 4 << 10);
        let origins = vec!["https://a".to_owned(), "https://b".to_owned()];
        assert_eq!(own.sockjs.allowed_origins, Some(origins));
        assert!(config.sockjs.allowed_origins.is_none() && !config.sockjs.cookie);
    }

    #[test]
    fn an_endpoint_names_a_path_and_options_that_there_are() {
        let refused = |text: &str| endpoint(&Config::default(), text).unwrap_err();
        assert!(refused("chat").contains("allowed is a path"));
        assert!(refused("/a beat=5s").contains("beat is none of origins, transports"));
        assert!(refused("/a sessions-max=5").contains("none of"));
        assert!(refused("/a heartbeat=never").contains("of heartbeat=never: "));
        assert!(refused("/a origins=nowhere").contains("of origins=nowhere: "));
        assert!(refused("/a origins=*,http://a").contains("alone"));
        for name in OWN {
            assert!(options::find(&format!("sockjs-{name}")).is_some(), "{name}");
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
