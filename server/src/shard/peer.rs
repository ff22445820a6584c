//! A client's address in 18 bytes: there is one for every connection, and `SocketAddr` takes 32.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Address and port of a client; port 0 is one that a proxy did not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer {
    /// IPv4 addresses in their mapped form.
    ip: [u8; 16],
    port: [u8; 2],
}

const _: () = assert!(size_of::<Peer>() == 18);

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Peer { ip, port: address.port().to_be_bytes() }
    }
}

impl Peer {
    /// The address without the port; IPv4 where it is one.
    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u16::from_be_bytes(self.port) {
            0 => self.ip().fmt(formatter),
            port => SocketAddr::new(self.ip(), port).fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_was_put_in() {
        for text in ["127.0.0.1:8080", "[2001:db8::1]:443", "[::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::from(address).to_string(), text);
        }
        for text in ["127.0.0.1", "2001:db8::1"] {
            assert_eq!(Peer::from(SocketAddr::new(text.parse().unwrap(), 0)).to_string(), text);
        }
    }
}
