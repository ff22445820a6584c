//! The kernel refuses rings: at the first, or when some are there.

use crate::cage::Cage;
use crate::server::Server;

/// What the reactor asks for; what is tried before has fewer.
const ENTRIES_OF_A_SHARD: u32 = 1024;
/// errno of Linux.
const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const ENOSYS: i32 = 38;

/// `auto` serves on epoll, `uring` says what to change.
fn is_replaced(cage: Cage, advice: &str) {
    let server = Server::start_in(cage, &["--io", "auto", "--shards", "3"]);
    assert!(server.greeting.starts_with("stompede on epoll: "), "{}", server.greeting);
    for _ in 0..6 {
        server.session().round_trip();
    }
    assert_eq!(server.stop(), Some(0));
    let (status, said) = Server::refused(cage, &["--io", "uring", "--shards", "3"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains(advice), "{said}");
}

#[test]
fn l14_where_io_uring_is_refused_epoll_serves() {
    for (errno, advice) in [(EPERM, "io_uring"), (ENOSYS, "seccomp"), (ENOMEM, "RLIMIT_MEMLOCK")] {
        is_replaced(Cage::NoRing { entries_min: 0, errno }, advice);
    }
}

#[test]
fn l14_l16_a_shard_without_a_ring_is_no_shard_that_hangs() {
    is_replaced(Cage::NoRing { entries_min: ENTRIES_OF_A_SHARD, errno: ENOMEM }, "RLIMIT_MEMLOCK");
}

#[test]
fn l16_little_locked_memory_is_enough_or_said_to_be_too_little() {
    for bytes in [0, 64 << 10, 1 << 20, 8 << 20] {
        let cage = Cage::Locked(bytes);
        let server = Server::start_in(cage, &["--io", "auto", "--shards", "4"]);
        for _ in 0..8 {
            server.session().round_trip();
        }
        let is_uring = server.greeting.starts_with("stompede on io_uring: ");
        assert_eq!(server.stop(), Some(0));
        if !is_uring {
            let (status, said) = Server::refused(cage, &["--io", "uring", "--shards", "4"]);
            assert_eq!(status, Some(2), "{said}");
        }
    }
}

/// Catalogue: L17.
#[test]
fn too_few_descriptors_for_the_shards_are_told_at_the_start() {
    for io in ["auto", "epoll"] {
        let cage = Cage::Shell("ulimit -n 40");
        let (status, said) = Server::refused(cage, &["--io", io, "--shards", "16"]);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("Too many open files"), "{said}");
    }
}
