//! MQTT 3.1.1 as a client speaks it: packets with a fixed header, a length and their rest.
//!
//! QoS 0 only, and a clean session without a name of its own, which "the Server MUST ... treat as
//! a special case and assign a unique ClientId" (section 3.1.3.1). The same bytes travel over TCP
//! and in binary frames of a WebSocket with the subprotocol `mqtt` (section 6).

use super::{Inbound, Login, Step, Violation, FRAME_BYTES_MAX};

/// PINGREQ: asks whether the server is there.
pub const PINGREQ: &[u8] = &[0xc0, 0];

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
/// With QoS 0, neither a duplicate nor retained.
const PUBLISH: u8 = 0x30;
const PUBLISH_RETAINED: u8 = 0x31;
/// "Bits 3,2,1 and 0 of the fixed header ... are reserved and MUST be set to 0,0,1 and 0".
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xd0;

/// Reads the packet at the front of `input`.
///
/// # Errors
/// A refusal, or what no server may say.
#[inline]
pub fn next(input: &[u8]) -> Step<'_> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let Some((length, length_bytes)) = remaining_length(rest)? else { return Ok(None) };
    if length > FRAME_BYTES_MAX {
        return Err("packet too long");
    }
    let at = 1 + length_bytes;
    let Some(packet) = input.get(at..at + length) else { return Ok(None) };
    let inbound = match first {
        PUBLISH | PUBLISH_RETAINED => {
            let &[high, low, ..] = packet else { return Err("PUBLISH without a topic") };
            let body = 2 + usize::from(u16::from_be_bytes([high, low]));
            let body = packet.get(body..).ok_or("PUBLISH whose topic is longer than itself")?;
            Inbound::Message { head: &input[..at + length - body.len()], body }
        }
        CONNACK => connack(packet)?,
        SUBACK if packet.len() > 2 && packet[2..].iter().all(|&code| code <= 2) => Inbound::Receipt,
        SUBACK => return Err("SUBACK: a subscription was refused"),
        PINGRESP => Inbound::HeartBeat,
        _ => return Err("a packet that nobody asked for"),
    };
    Ok(Some((inbound, at + length)))
}

/// The length of what follows it, and its own bytes, one to four (section 2.2.3).
#[inline]
fn remaining_length(input: &[u8]) -> Result<Option<(usize, usize)>, Violation> {
    let mut length = 0;
    for (index, &byte) in input.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((length, index + 1)));
        }
    }
    if input.len() < 4 {
        Ok(None)
    } else {
        Err("a length of more than four bytes")
    }
}

/// Return codes of section 3.2.2.3.
fn connack(packet: &[u8]) -> Result<Inbound<'_>, Violation> {
    match packet {
        [_, 0] => Ok(Inbound::Connected),
        [_, 1] => Err("CONNACK: unacceptable protocol version"),
        [_, 2] => Err("CONNACK: identifier rejected"),
        [_, 3] => Err("CONNACK: server unavailable"),
        [_, 4] => Err("CONNACK: bad user name or password"),
        [_, 5] => Err("CONNACK: not authorized"),
        _ => Err("CONNACK of a form that there is not"),
    }
}

/// Appends a packet: the fixed header, then `parts`.
fn packet(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(first);
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a string with its length; the generator's are short.
fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends CONNECT.
pub fn connect(out: &mut Vec<u8>, login: &Login<'_>) {
    const CLEAN_SESSION: u8 = 0x02;
    const NAME_AND_PASSWORD: u8 = 0xc0;
    // The server drops a client after one and a half times this; 0 is never.
    let keep_alive_s = login.heart_beat_ms.div_ceil(1_000).min(u32::from(u16::MAX)) as u16;
    let flags = if login.credentials.is_some() { NAME_AND_PASSWORD } else { 0 } | CLEAN_SESSION;
    let mut payload = Vec::new();
    string(&mut payload, "");
    if let Some((name, passcode)) = login.credentials {
        string(&mut payload, name);
        string(&mut payload, passcode);
    }
    let head = [b"\0\x04MQTT\x04", &[flags][..], &keep_alive_s.to_be_bytes()].concat();
    packet(out, CONNECT, &[&head, &payload]);
}

/// Appends SUBSCRIBE to all of `names`, which one SUBACK answers.
pub fn subscribe(out: &mut Vec<u8>, names: &[(u32, String)]) {
    // "MUST contain a non-zero 16-bit Packet Identifier"; one at a time is on its way.
    let mut payload = vec![0, 1];
    for (_, name) in names {
        string(&mut payload, name);
        payload.push(0);
    }
    packet(out, SUBSCRIBE, &[&payload]);
}

/// Appends PUBLISH of `body` with QoS 0.
pub fn publish(out: &mut Vec<u8>, topic: &str, body: &[u8]) {
    packet(out, PUBLISH, &[&(topic.len() as u16).to_be_bytes(), topic.as_bytes(), body]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_packet_of_a_server_is_told_apart_and_every_prefix_needs_more() {
        let cases: [(&[u8], Inbound<'_>); 6] = [
            (b"\x20\x02\0\0", Inbound::Connected),
            (b"\x90\x03\0\x01\0", Inbound::Receipt),
            (b"\x90\x04\0\x01\0\x02", Inbound::Receipt),
            (b"\xd0\0", Inbound::HeartBeat),
            (b"\x30\x05\0\x01ahi", Inbound::Message { head: b"\x30\x05\0\x01a", body: b"hi" }),
            (b"\x31\x03\0\x01a", Inbound::Message { head: b"\x31\x03\0\x01a", body: b"" }),
        ];
        for (bytes, wanted) in cases {
            for end in 0..bytes.len() {
                assert_eq!(next(&bytes[..end]), Ok(None), "{end} of {wanted:?}");
            }
            assert_eq!(next(bytes), Ok(Some((wanted, bytes.len()))));
        }
    }

    #[test]
    fn refusals_and_what_no_server_says_are_violations() {
        let why = |bytes: &[u8]| next(bytes).unwrap_err();
        assert_eq!(why(b"\x20\x02\0\x05"), "CONNACK: not authorized");
        assert!(why(b"\x20\x01\0").contains("form"));
        assert!(why(b"\x90\x03\0\x01\x80").contains("refused"));
        assert!(why(b"\x90\x02\0\x01").contains("refused"));
        assert!(why(b"\x30\x80\x80\x80\x80").contains("four bytes"));
        assert!(why(b"\x30\xff\xff\xff\x7f").contains("too long"));
        assert!(why(b"\x30\x01a").contains("topic"));
        assert!(why(b"\x30\x03\0\x02a").contains("longer"));
        // QoS 1, and a client's packet.
        assert!(next(b"\x32\x05\0\x01a\0\x01").is_err());
        assert!(next(b"\xc0\0").is_err());
    }

    #[test]
    fn a_client_says_what_section_3_shows() {
        let mut out = Vec::new();
        let login = Login { credentials: None, version: "", host: "", heart_beat_ms: 1_500 };
        connect(&mut out, &login);
        assert_eq!(out, b"\x10\x0c\0\x04MQTT\x04\x02\0\x02\0\0");
        out.clear();
        let credentials = ("me".to_owned(), "pass".to_owned());
        connect(&mut out, &Login { credentials: Some(&credentials), ..login });
        assert_eq!(out, b"\x10\x16\0\x04MQTT\x04\xc2\0\x02\0\0\0\x02me\0\x04pass");
        out.clear();
        subscribe(&mut out, &[(0, "a".into()), (1, "b/c".into())]);
        assert_eq!(out, b"\x82\x0c\0\x01\0\x01a\0\0\x03b/c\0");
    }

    #[test]
    fn lengths_have_the_bytes_of_the_table_of_section_2() {
        for (length, bytes) in
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4)]
        {
            let mut out = Vec::new();
            packet(&mut out, PUBLISH, &[&vec![0; length]]);
            assert_eq!(out.len(), 1 + bytes + length);
            assert_eq!(remaining_length(&out[1..]), Ok(Some((length, bytes))));
        }
    }

    proptest! {
        /// A QoS 0 publication is forwarded as it is.
        #[test]
        fn a_publication_survives(
            body in prop::collection::vec(any::<u8>(), 0..20_000),
            topic in "[a-z/.]{0,200}",
        ) {
            let mut out = Vec::new();
            publish(&mut out, &topic, &body);
            prop_assert_eq!(next(&out[..out.len() - 1]), Ok(None));
            let head = &out[..out.len() - body.len()];
            let wanted = Inbound::Message { head, body: &body };
            prop_assert_eq!(next(&out), Ok(Some((wanted, out.len()))));
        }
    }
}
