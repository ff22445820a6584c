//! Tests of [`super`]: what a client invents is never believed, whatever it invents.

use super::ClientHeader::{Forwarded, XForwardedFor};
use super::*;
use crate::http::request::decode;
use crate::limits::Limits;
use proptest::prelude::*;

/// The client by these lines, where 10.0.0.0/8 and fd00::/8 are trusted.
fn named(header: ClientHeader, lines: &str) -> Result<Option<Client>, Unreadable> {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let (request, _) = decode(head.as_bytes(), &Limits::default()).unwrap().unwrap();
    let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse::<Network>().unwrap());
    client(&request, header, |ip| networks.iter().any(|network| network.contains(ip)))
}

fn shown(header: ClientHeader, list: &str) -> String {
    let lines = format!("{}: {list}\r\n", header.name());
    match named(header, &lines) {
        Ok(Some(client)) => client.address.to_string(),
        Ok(None) => "nobody".to_owned(),
        Err(Unreadable) => "unreadable".to_owned(),
    }
}

#[test]
fn c21_the_rightmost_address_that_is_not_trusted_is_the_client() {
    for (list, client) in [
        ("192.0.2.1", "192.0.2.1:0"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1:0"),
        ("6.6.6.6, 192.0.2.1, 10.1.2.3,10.0.0.1", "192.0.2.1:0"),
        ("192.0.2.1:4711", "192.0.2.1:4711"),
        ("2001:db8::1", "[2001:db8::1]:0"),
        ("[2001:db8::1]", "[2001:db8::1]:0"),
        ("[2001:db8::1]:80, fd00::1", "[2001:db8::1]:80"),
        ("::ffff:192.0.2.1, ::ffff:10.0.0.1", "192.0.2.1:0"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2:0"),
        (", 192.0.2.1, ,", "192.0.2.1:0"),
        ("rubbish\", 192.0.2.1", "192.0.2.1:0"),
    ] {
        assert_eq!(shown(XForwardedFor, list), client, "{list}");
    }
    let two = "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nx-forwarded-for: 10.0.0.1\r\n";
    let client = named(XForwardedFor, two).unwrap().unwrap();
    assert_eq!(client.address.to_string(), "192.0.2.1:0", "fields are one list, in order");
}

#[test]
fn c21_rubbish_and_endless_lists_name_nobody() {
    for list in ["", " , ,", ","] {
        assert_eq!(shown(XForwardedFor, list), "nobody", "{list}");
    }
    for list in ["unknown", "192.0.2.1, x", "192.0.2.256", "1.2.3.4:99999", "[::1", "192.0.2.1/8"] {
        assert_eq!(shown(XForwardedFor, list), "unreadable", "{list}");
    }
    let many = "10.0.0.1,".repeat(500);
    assert_eq!(shown(XForwardedFor, &many), "unreadable");
    assert_eq!(shown(XForwardedFor, &",".repeat(4_000)), "unreadable");
    assert_eq!(shown(XForwardedFor, &format!("{many}192.0.2.1")), "192.0.2.1:0");
    assert_eq!(
        shown(XForwardedFor, &format!("192.0.2.1{}", ",10.0.0.1".repeat(15))),
        "192.0.2.1:0"
    );
    assert_eq!(shown(XForwardedFor, &format!("192.0.2.1{}", ",10.0.0.1".repeat(16))), "unreadable");
}

/// RFC 7239 §4: its own examples, and what a client may put in front of them.
#[test]
fn forwarded_is_read_as_its_rfc_says() {
    for (list, client) in [
        ("for=192.0.2.43", "192.0.2.43:0"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60:0"),
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17:0"),
        ("by=\"a,b;c\"; for=192.0.2.43 , for=\"10.0.0.1:80\"", "192.0.2.43:0"),
        ("for=\"6.6.6.6, for=192.0.2.43", "192.0.2.43:0"),
        ("for=unknown", "unreadable"),
        ("for=\"_gazonk\"", "unreadable"),
        ("proto=https", "unreadable"),
        ("192.0.2.43", "unreadable"),
    ] {
        assert_eq!(shown(Forwarded, list), client, "{list}");
    }
}

#[test]
fn the_field_that_is_not_chosen_is_not_looked_at() {
    let both = "Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n";
    assert_eq!(named(XForwardedFor, both).unwrap().unwrap().address.ip().to_string(), "192.0.2.1");
    assert_eq!(named(Forwarded, both).unwrap().unwrap().address.ip().to_string(), "6.6.6.6");
    assert_eq!(named(Forwarded, "X-Forwarded-For: 192.0.2.1\r\n"), Ok(None));
}

#[test]
fn the_scheme_is_the_clients() {
    let is_tls = |header, lines: &str| named(header, lines).unwrap().unwrap().is_tls;
    let by = |proto: &str| format!("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: {proto}\r\n");
    assert!(is_tls(XForwardedFor, &by("HTTPS")));
    assert!(is_tls(XForwardedFor, &by("https, https")));
    assert!(!is_tls(XForwardedFor, &by("https, http")));
    assert!(!is_tls(XForwardedFor, &by("")));
    assert!(!is_tls(XForwardedFor, "X-Forwarded-For: 192.0.2.1\r\n"));
    let outer = "Forwarded: for=192.0.2.1;proto=https, for=10.0.0.1;proto=http\r\n";
    assert!(is_tls(Forwarded, outer));
    assert!(!is_tls(Forwarded, "Forwarded: for=6.6.6.6;proto=https, for=192.0.2.1\r\n"));
}

/// Catalogue: A15.
#[test]
fn a15_a_mapped_address_is_in_the_network_of_its_own() {
    let network = |text: &str| text.parse::<Network>();
    let is_in = |ip: &str, text| network(text).unwrap().contains(ip.parse().unwrap());
    assert!(is_in("::ffff:10.1.2.3", "10.0.0.0/8") && is_in("10.1.2.3", "::ffff:10.0.0.0/104"));
    assert!(is_in("10.1.2.3", "0.0.0.0/0") && is_in("10.1.2.3", "::/0"));
    assert!(!is_in("2001:db8::1", "0.0.0.0/0") && !is_in("11.0.0.0", "10.0.0.0/8"));
    assert!(is_in("192.0.2.1", "192.0.2.1") && !is_in("192.0.2.0", "192.0.2.1"));
    for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a/8", "10.0.0.0/8/8"] {
        assert!(network(bad).is_err(), "{bad}");
    }
    let slip = network("10.1.2.3/8").unwrap_err();
    assert_eq!(slip, "seen bits behind the prefix: write 10.0.0.0/8");
}

proptest! {
    #[test]
    fn c21_nothing_left_of_the_client_matters(
        forged in "[ -~\u{80}-\u{ff}]{0,200}", ip: u32, hops in 0_usize..4, is_rfc: bool,
    ) {
        let ip = IpAddr::from(ip.to_be_bytes());
        prop_assume!(!"10.0.0.0/8".parse::<Network>().unwrap().contains(ip));
        let (header, before) = if is_rfc { (Forwarded, "for=") } else { (XForwardedFor, "") };
        let proxies = format!(", {before}10.0.0.1").repeat(hops);
        let list = format!("{forged}, {before}{ip}{proxies}");
        prop_assert_eq!(shown(header, &list), SocketAddr::new(ip, 0).to_string());
    }

    #[test]
    fn c21_whatever_comes_is_an_answer(list in "[ -~\u{80}-\u{ff}]{0,300}") {
        for header in [XForwardedFor, Forwarded] {
            shown(header, &list);
        }
    }

    #[test]
    fn networks_are_shown_as_they_are_read(bits: u128, prefix_len in 0_u8..=128, is_v4: bool) {
        let prefix_len = if is_v4 { prefix_len % 33 + 96 } else { prefix_len };
        let bits = if is_v4 { bits & 0xffff_ffff | 0xffff << 32 } else { bits };
        let network = Network { bits: bits & mask(prefix_len), prefix_len };
        prop_assert_eq!(network.to_string().parse(), Ok(network));
        prop_assert!(network.contains(Ipv6Addr::from(bits).into()));
        if prefix_len > 0 {
            let other = bits ^ 1 << (128 - prefix_len);
            prop_assert!(!network.contains(Ipv6Addr::from(other).into()));
        }
    }
}
