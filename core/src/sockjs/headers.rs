//! Header fields of SockJS answers: type, caching, CORS, cookie (protocol, "common" checks; Fetch).
//!
//! Whether an origin may connect is decided before; what is allowed is echoed, with credentials.
//! Answers of sessions and `/info` are never cached, preflights and the iframe page for a year. The
//! `Connection`, `Content-Length` and `Transfer-Encoding` fields are the HTTP layer's.

use super::url::{Route, Transport};

const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const CACHE: &str = "public, max-age=31536000";
const YEAR_S: u64 = 31_536_000;

/// Fields an answer can have at most.
const FIELDS_MAX: usize = 12;

/// What the answer depends on, from the request and the endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// `Origin`, if there is one and it was allowed.
    pub origin: Option<&'a str>,
    /// `Access-Control-Request-Headers`.
    pub request_headers: Option<&'a str>,
    /// What [`session_cookie`] made, if the endpoint has cookies on.
    pub set_cookie: Option<&'a str>,
    /// What [`expires`] made; used for preflights and the iframe page.
    pub expires: &'a str,
    /// The page's tag; used for the iframe page.
    pub etag: &'a str,
    /// Whether pages of other sites may not hold the iframe page, because they may not connect.
    pub is_own_site_only: bool,
}

/// Which answer of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The route's own.
    Success,
    /// To OPTIONS: 204.
    Preflight,
    /// A text with an error, of [`super::error::Error`].
    Failure,
    /// The client has the page: 304, without content type.
    NotModified,
}

/// The fields of one answer, without allocation; a slice of names and values.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    fields: [(&'static str, &'a str); FIELDS_MAX],
    count: usize,
}

impl<'a> Fields<'a> {
    fn push(&mut self, name: &'static str, value: &'a str) {
        debug_assert!(self.count < FIELDS_MAX, "the test of all routes has counted");
        if let Some(field) = self.fields.get_mut(self.count) {
            *field = (name, value);
            self.count += 1;
        }
    }
}

impl<'a> std::ops::Deref for Fields<'a> {
    type Target = [(&'static str, &'a str)];

    fn deref(&self) -> &Self::Target {
        &self.fields[..self.count]
    }
}

/// The fields of an answer of `route`.
pub fn fields<'a>(route: &Route<'_>, outcome: Outcome, asked: &Asked<'a>) -> Fields<'a> {
    let mut fields = Fields { fields: [("", ""); FIELDS_MAX], count: 0 };
    let content_type = match (outcome, route) {
        (Outcome::Preflight | Outcome::NotModified, _) => None,
        (Outcome::Failure, _) => Some("text/plain; charset=UTF-8"),
        (Outcome::Success, Route::Info) => Some("application/json; charset=UTF-8"),
        (Outcome::Success, Route::Iframe) => Some("text/html; charset=UTF-8"),
        (Outcome::Success, Route::Session { transport, .. }) => Some(transport.content_type()),
        (Outcome::Success, _) => Some("text/plain; charset=UTF-8"),
    };
    if let Some(content_type) = content_type {
        fields.push("Content-Type", content_type);
    }
    push_caching(&mut fields, route, outcome, asked);
    push_cors(&mut fields, route, outcome, asked);
    let has_cookie = match route {
        Route::Info => outcome == Outcome::Preflight,
        Route::Session { transport, .. } => *transport != Transport::WebSocket,
        _ => false,
    };
    if let Some(cookie) = asked.set_cookie.filter(|_| has_cookie) {
        fields.push("Set-Cookie", cookie);
    }
    if let Route::Session { transport, .. } = route {
        if transport.is_streaming() && outcome == Outcome::Success {
            // Proxies of the nginx family buffer streams unless told.
            fields.push("X-Accel-Buffering", "no");
        }
    }
    fields
}

fn push_caching<'a>(
    fields: &mut Fields<'a>,
    route: &Route<'_>,
    outcome: Outcome,
    asked: &Asked<'a>,
) {
    let is_page = *route == Route::Iframe && outcome != Outcome::Failure;
    if outcome == Outcome::Preflight || is_page {
        fields.push("Cache-Control", CACHE);
        fields.push("Expires", asked.expires);
        if is_page {
            fields.push("ETag", asked.etag);
            if asked.is_own_site_only {
                // The page lends its origin to whoever holds it (RFC 7034).
                fields.push("X-Frame-Options", "SAMEORIGIN");
            }
        }
    } else if matches!(route, Route::Info | Route::Session { .. }) {
        fields.push("Cache-Control", NO_CACHE);
    }
}

fn push_cors<'a>(fields: &mut Fields<'a>, route: &Route<'_>, outcome: Outcome, asked: &Asked<'a>) {
    let origin = match route {
        Route::Info => asked.origin,
        Route::Session { transport, .. } => match transport {
            Transport::Xhr | Transport::XhrStreaming | Transport::XhrSend => asked.origin,
            Transport::EventSource => asked.origin.filter(|origin| *origin != "null"),
            _ => return,
        },
        _ => return,
    };
    fields.push("Access-Control-Allow-Origin", origin.unwrap_or("*"));
    if origin.is_some() {
        fields.push("Access-Control-Allow-Credentials", "true");
    }
    fields.push("Vary", "Origin");
    if let Some(names) = asked.request_headers.filter(|names| !names.is_empty()) {
        fields.push("Access-Control-Allow-Headers", names);
    }
    if outcome == Outcome::Preflight {
        fields.push("Access-Control-Allow-Methods", route.methods());
        fields.push("Access-Control-Max-Age", "31536000");
    }
}

/// The `Set-Cookie` of an endpoint with cookies on: the client's own JSESSIONID, given back so that
/// balancers see it, or `dummy`. `cookie` is the request's `Cookie` field.
pub fn session_cookie(cookie: Option<&str>) -> String {
    let pairs = cookie.unwrap_or("").split(';').filter_map(|pair| pair.trim().split_once('='));
    // RFC 6265 §4.1.1, cookie-octet.
    let is_octet = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b',' | b';' | b'\\');
    let is_ours = |pair: &(&str, &str)| {
        pair.0 == "JSESSIONID" && !pair.1.is_empty() && pair.1.bytes().all(is_octet)
    };
    let value = pairs.into_iter().find(is_ours).map_or("dummy", |(_, value)| value);
    format!("JSESSIONID={value}; path=/")
}

/// The `Expires` of what is cached for a year, as an IMF-fixdate (RFC 9110 §5.6.7). `now_unix_s` in
/// seconds since 1970.
pub fn expires(now_unix_s: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = now_unix_s.saturating_add(YEAR_S);
    let (days, second) = (at / 86_400, at % 86_400);
    // Days since 1 March of year 0, so that leap days come last: 719,468 of them until 1970. An era
    // is 400 years, which is 146,097 days.
    let since_march = days + 719_468;
    let (era, day_of_era) = (since_march / 146_097, since_march % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        second / 3_600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
