//! The client's side of epoll: sockets that connect, for the load generator.
//!
//! A non-blocking connect is registered like any other socket; its first writability (or error) is
//! the answer, and `SO_ERROR` says which.

use super::{check, EpollReactor, Stage};
use crate::reactor::listener::{encode_address, set_option};
use crate::reactor::{errno, Connector, Event};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

impl Connector for EpollReactor {
    fn connect(&mut self, target: SocketAddr, source: Option<SocketAddr>) -> io::Result<u32> {
        let (target, target_length) = encode_address(target);
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: makes a new descriptor that is owned at once.
        let socket = unsafe {
            let family = i32::from(target.ss_family);
            OwnedFd::from_raw_fd(check(libc::socket(family, kind, 0))?)
        };
        let fd = socket.as_raw_fd();
        if fd as usize >= self.stages.len() {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        if let Some((source, length)) = source.map(encode_address) {
            set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
            // SAFETY: `source` holds `length` valid bytes of an address.
            check(unsafe { libc::bind(fd, (&raw const source).cast(), length) })?;
        }
        // SAFETY: `target` holds `target_length` valid bytes of an address.
        let result = unsafe { libc::connect(fd, (&raw const target).cast(), target_length) };
        if result < 0 && errno() != libc::EINPROGRESS {
            return Err(io::Error::last_os_error());
        }
        // Registered after connect: a fresh socket would report a hang-up at once.
        self.stages[fd as usize] = Stage::Connecting;
        self.register_socket(fd)?;
        Ok(socket.into_raw_fd() as u32)
    }

    fn wake_in(&mut self, delay: Duration) {
        // Zero would disarm the timer.
        let delay = delay.max(Duration::from_nanos(1));
        let value = libc::timespec {
            tv_sec: delay.as_secs() as i64,
            tv_nsec: i64::from(delay.subsec_nanos()),
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = libc::itimerspec { it_interval: never, it_value: value };
        // SAFETY: `timer` is live, the old value is not asked for.
        unsafe {
            libc::timerfd_settime(self.alarm.as_raw_fd(), 0, &raw const timer, std::ptr::null_mut())
        };
    }
}

/// What became of a connection that was begun.
pub(super) fn outcome(slot: u32) -> Event {
    let (mut errno, mut length) = (0i32, 4);
    let (value, fd) = ((&raw mut errno).cast(), slot as i32);
    // SAFETY: `errno` is a live i32 and its size is passed.
    unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, value, &raw mut length) };
    if errno == 0 {
        Event::Connected { slot }
    } else {
        Event::ConnectFailed { slot, errno }
    }
}
