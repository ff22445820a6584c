//! Listening sockets: one per shard and address, sharing the port by SO_REUSEPORT.
//!
//! The options set here are inherited by every accepted socket (reference measurements: without
//! SO_SNDBUF and TCP_NOTSENT_LOWAT a stalled client pins 3.9 MB of kernel memory).

use super::errno;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Connections that may wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Kernel send buffer of one connection, in bytes; the kernel doubles it.
const SEND_BUFFER_BYTES: i32 = 65_536;
/// Unsent bytes above which a socket does not count as writable.
const NOT_SENT_LOW_WATER_BYTES: i32 = 16_384;
/// Milliseconds after which unacknowledged data end a connection (a peer that vanished).
const USER_TIMEOUT_MS: i32 = 30_000;
/// Seconds within which a client's first bytes come with its connection: in all that is spoken here
/// the client speaks first, and one wake-up for both is a third less work. Who says nothing for so
/// long is accepted all the same.
const DEFER_ACCEPT_S: i32 = 1;

/// Opens a listener on `address` that several shards may share.
///
/// # Errors
/// What the system says, with the address and a remedy.
pub fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let fd = socket(address)?;
    let raw = fd.as_raw_fd();
    set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    set_option(raw, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER_BYTES)?;
    set_option(raw, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set_option(raw, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, NOT_SENT_LOW_WATER_BYTES)?;
    set_option(raw, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, USER_TIMEOUT_MS)?;
    set_option(raw, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, DEFER_ACCEPT_S)?;
    bind(&fd, address)?;
    // SAFETY: plain system call on a descriptor we own.
    if unsafe { libc::listen(raw, BACKLOG) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: plain system call; the descriptor is owned at once.
    unsafe {
        let fd = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn bind(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (storage, length) = encode_address(address);
    // SAFETY: `storage` holds `length` valid bytes of an address.
    if unsafe { libc::bind(fd.as_raw_fd(), (&raw const storage).cast(), length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Is nobody else on `address`? The shards share their port with each other, and so would another
/// server of the same user, silently, with half of the clients.
///
/// # Errors
/// `EADDRINUSE`, or what else the system says.
pub fn claim(address: SocketAddr) -> io::Result<()> {
    let fd = socket(address)?;
    set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    bind(&fd, address)
}

/// The address that a listener is bound to (its port when 0 was asked).
///
/// # Errors
/// What the system says.
pub fn local_address(fd: &OwnedFd) -> io::Result<SocketAddr> {
    // SAFETY: an all-zero sockaddr_storage is valid, and its size is passed.
    unsafe {
        let mut storage: libc::sockaddr_storage = std::mem::zeroed();
        let mut length = size_of::<libc::sockaddr_storage>() as u32;
        if libc::getsockname(fd.as_raw_fd(), (&raw mut storage).cast(), &raw mut length) < 0 {
            return Err(io::Error::last_os_error());
        }
        decode_address(&storage).ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
    }
}

pub(super) fn set_option(fd: i32, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: `value` is a live i32 and its size is passed.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), 4) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(errno()));
    }
    Ok(())
}

/// An address in the kernel's form, and its length.
pub(super) fn encode_address(address: SocketAddr) -> (libc::sockaddr_storage, u32) {
    // SAFETY: all-zero is valid for these plain structs; the casts stay inside the storage.
    unsafe {
        let mut storage: libc::sockaddr_storage = std::mem::zeroed();
        match address {
            SocketAddr::V4(v4) => {
                let raw = &mut *(&raw mut storage).cast::<libc::sockaddr_in>();
                raw.sin_family = libc::AF_INET as u16;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                (storage, size_of::<libc::sockaddr_in>() as u32)
            }
            SocketAddr::V6(v6) => {
                let raw = &mut *(&raw mut storage).cast::<libc::sockaddr_in6>();
                raw.sin6_family = libc::AF_INET6 as u16;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                (storage, size_of::<libc::sockaddr_in6>() as u32)
            }
        }
    }
}

/// Reads an address as the kernel wrote it; `None` for families other than IP.
pub fn decode_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: the family says which struct the storage holds; both fit into it.
    unsafe {
        match i32::from(storage.ss_family) {
            libc::AF_INET => {
                let raw = &*(&raw const *storage).cast::<libc::sockaddr_in>();
                let ip = std::net::Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::from((ip, u16::from_be(raw.sin_port))))
            }
            libc::AF_INET6 => {
                let raw = &*(&raw const *storage).cast::<libc::sockaddr_in6>();
                let ip = std::net::Ipv6Addr::from(raw.sin6_addr.s6_addr);
                Some(SocketAddr::from((ip, u16::from_be(raw.sin6_port))))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catalogue: A15.
    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["127.0.0.1:8080", "[::1]:61613", "255.1.2.3:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(decode_address(&encode_address(address).0), Some(address));
        }
    }

    #[test]
    fn two_shards_share_a_port() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = local_address(&first).unwrap();
        let second = listen(address).unwrap();
        assert_eq!(local_address(&second).unwrap(), address);
        let taken = claim(address).unwrap_err();
        assert_eq!(taken.raw_os_error(), Some(libc::EADDRINUSE));
        drop((first, second));
        claim(address).unwrap();
    }
}
