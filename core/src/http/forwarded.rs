//! Whom a proxy speaks for: `X-Forwarded-For` and `Forwarded` (RFC 7239), and the networks whose
//! proxies are believed.
//!
//! A proxy appends the address it was called from, so the list is true from the right up to the
//! first address that is no trusted proxy's: that is the client, and what stands left of it is the
//! client's own invention and not looked at. Lists are therefore cut from the right, quotes
//! included: nothing that a client wrote can hide what a proxy added. Only one of the two fields
//! is believed, for a proxy that sets one of them passes the other on as the client sent it.

use super::request::Request;
use crate::limits::FORWARDED_HOPS_COUNT_MAX;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::fmt;
use std::str::FromStr;

/// A network in CIDR notation (RFC 4632 §3.1); IPv4 in its mapped form, so that one comparison
/// serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    /// Bits of the prefix, from 0 to 128.
    prefix_len: u8,
}

impl Network {
    /// Is the address in it? A mapped address is the IPv4 address in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        (bits(ip) ^ self.bits) & mask(self.prefix_len) == 0
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

fn mask(prefix_len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = String;

    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or a single address.
    fn from_str(text: &str) -> Result<Network, String> {
        let allowed = || "allowed is an address, or a network such as 10.0.0.0/8".to_owned();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| allowed())?;
        let (width, before) = if ip.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix_len = match prefix {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().map_err(|_| allowed())?
            }
            Some(_) => return Err(allowed()),
            None => width,
        };
        if prefix_len > width {
            return Err(format!("seen a prefix of {prefix_len} bits, limit is {width}"));
        }
        let prefix_len = before + prefix_len;
        let network = Network { bits: bits(ip) & mask(prefix_len), prefix_len };
        match network.bits == bits(ip) {
            true => Ok(network),
            false => Err(format!("seen bits behind the prefix: write {network}")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = Ipv6Addr::from(self.bits);
        match (ip.to_ipv4_mapped(), self.prefix_len) {
            (Some(ip), 96..) => write!(f, "{ip}/{}", self.prefix_len - 96),
            _ => write!(f, "{ip}/{}", self.prefix_len),
        }
    }
}

/// The field in which the proxies name their clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` for the scheme.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

impl ClientHeader {
    /// The name of the field, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            ClientHeader::XForwardedFor => "x-forwarded-for",
            ClientHeader::Forwarded => "forwarded",
        }
    }
}

/// Who sent a request to the outermost proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address, canonical; port 0 if it was not told.
    pub address: SocketAddr,
    /// Did it come over TLS?
    pub is_tls: bool,
}

/// The list holds, where the client should be, no address, or it has too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The client of a request that a trusted proxy has sent: the rightmost address that `is_trusted`
/// says no to, or the leftmost one if all are trusted. `Ok(None)` if the proxy names nobody.
///
/// # Errors
/// See [`Unreadable`]. Limit: [`FORWARDED_HOPS_COUNT_MAX`].
pub fn client(
    request: &Request<'_>,
    header: ClientHeader,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Result<Option<Client>, Unreadable> {
    let fields = request.headers.iter().rev();
    let lists = fields.filter(|(name, _)| name.eq_ignore_ascii_case(header.name()));
    let mut outermost = None;
    for (index, hop) in lists.flat_map(|(_, list)| FromRight::new(list, b',')).enumerate() {
        if index >= FORWARDED_HOPS_COUNT_MAX {
            return Err(Unreadable);
        }
        // RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list
        // elements".
        if hop.is_empty() {
            continue;
        }
        let client = match header {
            ClientHeader::XForwardedFor => {
                address(hop).map(|address| Client { address, is_tls: is_all_https(request) })
            }
            ClientHeader::Forwarded => forwarded_element(hop),
        };
        let client = client.ok_or(Unreadable)?;
        outermost = Some(client);
        if !is_trusted(client.address.ip()) {
            break;
        }
    }
    Ok(outermost)
}

/// Do all proxies say in `X-Forwarded-Proto` that they were spoken to over TLS?
fn is_all_https(request: &Request<'_>) -> bool {
    let lists = request.headers_named("x-forwarded-proto");
    let mut schemes = lists.flat_map(|list| FromRight::new(list, b',')).peekable();
    schemes.peek().is_some() && schemes.all(|scheme| scheme.eq_ignore_ascii_case(b"https"))
}

/// `for=192.0.2.1;proto=https`, in any order, with or without quotes (RFC 7239 §4).
fn forwarded_element(element: &[u8]) -> Option<Client> {
    let (mut node, mut is_tls) = (None, false);
    for pair in FromRight::new(element, b';') {
        let Some(equals) = memchr::memchr(b'=', pair) else { continue };
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let value = quoted.unwrap_or(value);
        match name {
            _ if name.eq_ignore_ascii_case(b"for") => node = Some(value),
            _ if name.eq_ignore_ascii_case(b"proto") => {
                is_tls = value.eq_ignore_ascii_case(b"https");
            }
            _ => {}
        }
    }
    Some(Client { address: address(node?)?, is_tls })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(node: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let known: Option<SocketAddr> = text.parse().ok();
    let known = known.or_else(|| bare.parse().ok().map(|ip| SocketAddr::new(ip, 0)))?;
    Some(SocketAddr::new(known.ip().to_canonical(), known.port()))
}

/// The parts of a list, from the right, without blanks around them. A separator in quotes is none.
struct FromRight<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> FromRight<'a> {
    fn new(list: &'a [u8], separator: u8) -> FromRight<'a> {
        FromRight { rest: Some(list), separator }
    }
}

impl<'a> Iterator for FromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut is_quoted = false;
        let cut = rest.iter().rposition(|&byte| {
            is_quoted ^= byte == b'"';
            byte == self.separator && !is_quoted
        });
        self.rest = cut.map(|cut| &rest[..cut]);
        Some(rest[cut.map_or(0, |cut| cut + 1)..].trim_ascii())
    }
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
