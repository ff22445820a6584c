//! What this machine allows: `stompede probe`, and the choice of `--io auto`.
//!
//! Everything is tried rather than guessed: a ring is made with the flags the reactor uses, its
//! operations are asked for, a table of direct descriptors is registered, the addresses are bound.
//! What does not work is printed with the reason and with what to change. From the table and the
//! limit on descriptors follows the number of connections.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use io_uring::{opcode, types, IoUring, Probe};

use crate::config::{Config, IoChoice};

/// The operations that the reactor submits. Multishot is a flag that cannot be asked for; kernels
/// that know the flags of [`ring`] (6.0) have it for accept and poll.
const OPERATIONS: [(&str, u8); 11] = [
    ("accept", opcode::Accept::CODE),
    ("poll-add", opcode::PollAdd::CODE),
    ("poll-remove", opcode::PollRemove::CODE),
    ("send", opcode::Send::CODE),
    ("sendmsg", opcode::SendMsg::CODE),
    ("recv", opcode::Recv::CODE),
    ("close", opcode::Close::CODE),
    ("uring-cmd", opcode::UringCmd16::CODE),
    ("timeout", opcode::Timeout::CODE),
    ("async-cancel", opcode::AsyncCancel::CODE),
    ("fixed-fd-install", opcode::FixedFdInstall::CODE),
];

/// Largest table the kernel registers, whatever the limit on descriptors is.
const TABLE_SLOTS_MAX: u64 = 1 << 20;

/// Descriptors that are not clients: listeners, rings, event descriptors, files, standard streams.
const DESCRIPTORS_RESERVED_BASE: u64 = 32;
const DESCRIPTORS_RESERVED_PER_SHARD: u64 = 8;

/// Soft and hard value of a resource limit; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// The limit in force.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

/// What was found. Print it with `Display`.
#[derive(Clone, Debug)]
pub struct Report {
    /// Release of the kernel.
    pub kernel: String,
    /// Whether the reactor can use io_uring, or why not and what to change.
    pub uring: Result<(), String>,
    /// Descriptors of the process.
    pub nofile: Option<Rlimit>,
    /// Locked memory of the process, bytes.
    pub memlock: Option<Rlimit>,
    /// Direct descriptors of one ring that could be registered; 0 without io_uring.
    pub table_slots: u64,
    /// Longest accept queue.
    pub somaxconn: Option<u64>,
    /// Longest queue of half-open connections.
    pub syn_backlog: Option<u64>,
    /// Each address to listen on: option, address, and why it cannot be bound.
    pub addresses: Vec<(&'static str, SocketAddr, Result<(), String>)>,
    /// What `--io` asks for.
    pub io: IoChoice,
    /// Shards as configured.
    pub shards: usize,
    /// Connections of one shard that follow from the above and from `--connections-max`.
    pub connections_per_shard: u64,
}

impl Report {
    /// True if the server would start: each address is free and the driver asked for works.
    pub fn is_good(&self) -> bool {
        let free = self.addresses.iter().all(|(_, _, result)| result.is_ok());
        free && (self.io != IoChoice::Uring || self.uring.is_ok())
    }

    /// The driver that `--io` leads to.
    pub fn driver(&self) -> &'static str {
        match (self.io, &self.uring) {
            (IoChoice::Epoll, _) | (IoChoice::Auto, Err(_)) => "epoll",
            _ => "uring",
        }
    }
}

/// Tries everything out. Takes some milliseconds and leaves nothing behind.
pub fn report(config: &Config) -> Report {
    let (uring, nofile) = (is_uring_usable(), rlimit(libc::RLIMIT_NOFILE));
    let wanted = nofile.map_or(TABLE_SLOTS_MAX, |limit| limit.soft.min(TABLE_SLOTS_MAX));
    let table_slots = if uring.is_ok() { largest_table(wanted) } else { 0 };
    let mut report = Report {
        kernel: read("kernel/osrelease").unwrap_or_else(|| "not known".to_owned()),
        uring,
        nofile,
        memlock: rlimit(libc::RLIMIT_MEMLOCK),
        table_slots,
        somaxconn: read("net/core/somaxconn").and_then(|text| text.parse().ok()),
        syn_backlog: read("net/ipv4/tcp_max_syn_backlog").and_then(|text| text.parse().ok()),
        addresses: try_addresses(config),
        io: config.io,
        shards: config.shards_count(),
        connections_per_shard: 0,
    };
    report.connections_per_shard = connections_per_shard(&report, config.connections_max as u64);
    report
}

/// Whether a ring as the reactor needs it can be made here.
///
/// # Errors
/// Why not, and what to change.
pub fn is_uring_usable() -> Result<(), String> {
    let mut ring = ring().map_err(|error| explain(&error))?;
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| format!("the ring cannot be asked for its operations: {error}"))?;
    let missing: Vec<_> = OPERATIONS
        .iter()
        .filter(|(_, code)| !probe.is_supported(*code))
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(format!("the kernel has no {missing}; use a newer kernel, or --io epoll"));
    }
    ring.submitter()
        .register_files_sparse(1)
        .map_err(|error| format!("no table of direct descriptors: {error}; use a newer kernel"))?;
    socket_option(&mut ring).map_err(|error| {
        format!(
            "the ring cannot read socket options: {error}; use Linux 6.7 or newer, or --io epoll"
        )
    })
}

/// Reads a socket option through the ring, as the reactor does for the peer's address. The
/// operation is there from 5.19, this command of it from 6.7, so it has to be tried.
fn socket_option(ring: &mut IoUring) -> io::Result<()> {
    const SOCKET_URING_OP_GETSOCKOPT: u32 = 2;
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The level is the lower half of this field, the option's name the upper one; the value's
    // length stays 0, so nothing is written to the null address.
    let name = (libc::SO_TYPE as u64) << 32 | libc::SOL_SOCKET as u64;
    let fd = types::Fd(socket.as_raw_fd());
    let entry = opcode::UringCmd16::new(fd, SOCKET_URING_OP_GETSOCKOPT).addr(Some(name)).build();
    // SAFETY: the entry points to no memory, and the socket outlives the wait for its completion.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    match ring.completion().next().map(|completion| completion.result()) {
        Some(result) if result >= 0 => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
        None => Err(io::Error::other("no completion came")),
    }
}

/// A small ring with the flags of the reactor's.
fn ring() -> io::Result<IoUring> {
    IoUring::builder().setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().build(8)
}

/// Why `io_uring_setup` failed. The system call's manual, ERRORS; kernel.io_uring_disabled: 1 is
/// for unprivileged processes, 2 for all.
pub fn explain(error: &io::Error) -> String {
    let disabled = read("kernel/io_uring_disabled").filter(|value| value != "0");
    match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), Some(value)) => format!(
            "io_uring is switched off (kernel.io_uring_disabled = {value}): \
             sysctl -w kernel.io_uring_disabled=0, or --io epoll"
        ),
        (Some(libc::EPERM), None) => "io_uring is forbidden, most likely by the container's \
             seccomp profile: allow io_uring_setup, io_uring_enter and io_uring_register in it, \
             or --io epoll"
            .to_owned(),
        (Some(libc::ENOSYS), _) => "the kernel was built without io_uring, or a seccomp profile \
             hides it: allow io_uring_setup, io_uring_enter and io_uring_register, or --io epoll"
            .to_owned(),
        (Some(libc::EINVAL), _) => "the kernel is older than 6.0 and does not know the ring's \
             flags: use a newer kernel, or --io epoll"
            .to_owned(),
        (Some(libc::ENOMEM), _) => "no locked memory left for a ring: raise RLIMIT_MEMLOCK \
             (ulimit -l), or --io epoll"
            .to_owned(),
        _ => format!("io_uring_setup failed: {error}; or --io epoll"),
    }
}

/// The largest sparse table up to `wanted` that the kernel takes, by halving.
fn largest_table(wanted: u64) -> u64 {
    let mut slots = u32::try_from(wanted).unwrap_or(u32::MAX);
    while slots > 0 {
        // A table can be registered once per ring.
        match ring() {
            Ok(ring) if ring.submitter().register_files_sparse(slots).is_ok() => break,
            Ok(_) => slots /= 2,
            Err(_) => return 0,
        }
    }
    slots.into()
}

/// On io_uring each shard has a table of its own; on epoll all share the process's descriptors.
fn connections_per_shard(report: &Report, configured: u64) -> u64 {
    let shards = report.shards as u64;
    let possible = match report.driver() {
        "uring" => report.table_slots,
        _ => {
            let all = report.nofile.map_or(0, |limit| limit.soft);
            let reserved = DESCRIPTORS_RESERVED_BASE + DESCRIPTORS_RESERVED_PER_SHARD * shards;
            all.saturating_sub(reserved) / shards
        }
    };
    if configured == 0 {
        possible
    } else {
        possible.min(configured)
    }
}

fn try_addresses(config: &Config) -> Vec<(&'static str, SocketAddr, Result<(), String>)> {
    let try_one = |(option, address): (&'static str, SocketAddr)| {
        let result = TcpListener::bind(address).map(drop).map_err(|error| {
            let cure = match error.kind() {
                io::ErrorKind::AddrInUse => "end what listens there, or choose another port",
                io::ErrorKind::PermissionDenied => {
                    "choose a port from 1024, or grant \
                     CAP_NET_BIND_SERVICE"
                }
                io::ErrorKind::AddrNotAvailable => "choose an address of this machine",
                _ => "choose another address",
            };
            format!("{error}; {cure}")
        });
        (option, address, result)
    };
    config.listen_addresses().into_iter().map(try_one).collect()
}

/// A value under `/proc/sys`.
fn read(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    Some(text.trim().to_owned())
}

/// A resource limit of this process.
/// Asks the kernel for no huge pages in this process, where it gives them unasked: a shard touches
/// a few KiB here and there, and each touch would be 2 MiB (12 MiB for an idle shard instead of 1).
/// The allocator is built not to ask. What the kernel refuses costs memory only.
pub fn refuse_huge_pages() {
    // SAFETY: prctl with these arguments reads and writes no memory of ours.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

fn rlimit(resource: libc::__rlimit_resource_t) -> Option<Rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one `rlimit`, and `limit` is one that lives across the call.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (result == 0).then_some(Rlimit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (hard {})", or_unlimited(self.soft), or_unlimited(self.hard))
    }
}

fn or_unlimited(value: u64) -> String {
    if value == u64::MAX {
        "unlimited".to_owned()
    } else {
        value.to_string()
    }
}

fn or_unknown<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "not known".to_owned(), |value| value.to_string())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &str| writeln!(f, "{name:<16}{value}");
        line("kernel", &self.kernel)?;
        match &self.uring {
            Ok(()) => line("io_uring", "usable, all operations there")?,
            Err(why) => line("io_uring", &format!("not usable: {why}"))?,
        }
        line("driver", &format!("{} (--io {})", self.driver(), self.io.name()))?;
        line("RLIMIT_NOFILE", &or_unknown(self.nofile))?;
        line("RLIMIT_MEMLOCK", &or_unknown(self.memlock))?;
        line("direct table", &format!("{} slots a ring", self.table_slots))?;
        line("somaxconn", &or_unknown(self.somaxconn))?;
        line("syn backlog", &or_unknown(self.syn_backlog))?;
        for (option, address, result) in &self.addresses {
            match result {
                Ok(()) => line(option, &format!("{address} is free"))?,
                Err(why) => line(option, &format!("{address} cannot be bound: {why}"))?,
            }
        }
        let (each, shards) = (self.connections_per_shard, self.shards as u64);
        let all = each.saturating_mul(shards);
        line("connections", &format!("{all}: {shards} shards of {each}"))?;
        match self.nofile {
            Some(limit) if limit.soft < limit.hard => {
                let hard = or_unlimited(limit.hard);
                line("for more", &format!("ulimit -n {hard}, or more --shards with io_uring"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> Config {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Config { listen: any, stomp_listen: None, admin_listen: None, ..Config::default() }
    }

    #[test]
    fn the_report_agrees_with_itself() {
        let report = report(&any_port());
        assert!(report.is_good(), "{report}");
        assert_eq!(report.uring.is_ok(), report.table_slots > 0);
        assert_eq!(report.driver() == "uring", is_uring_usable().is_ok());
        let text = report.to_string();
        for name in ["kernel", "io_uring", "RLIMIT_NOFILE", "somaxconn", "connections"] {
            assert!(text.contains(name), "{text}");
        }
    }

    /// Catalogue: N05.
    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listen = taken.local_addr().expect("its address");
        let report = report(&Config { listen, ..any_port() });
        assert!(!report.is_good());
        assert!(report.to_string().contains("end what listens there"), "{report}");
    }

    /// Catalogue: L17.
    #[test]
    fn connections_follow_from_table_limit_and_option() {
        let mut report = report(&Config { shards: 4, ..any_port() });
        report.nofile = Some(Rlimit { soft: 1_064, hard: 4_096 });
        report.io = IoChoice::Epoll;
        assert_eq!(connections_per_shard(&report, 0), 250);
        assert_eq!(connections_per_shard(&report, 100), 100);
        report.io = IoChoice::Uring;
        report.table_slots = 1_000;
        assert_eq!(connections_per_shard(&report, 0), 1_000);
        assert_eq!(connections_per_shard(&report, 5_000), 1_000);
    }

    /// Catalogue: L14, L15.
    #[test]
    fn each_refusal_says_what_to_change() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::EINVAL, libc::ENOMEM, libc::EIO] {
            let text = explain(&io::Error::from_raw_os_error(errno));
            assert!(text.contains("--io epoll"), "{text}");
        }
    }
}
