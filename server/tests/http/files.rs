//! Files of `--static-dir`.

use crate::client::{config, drivers, refused, start, Client, Running};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stompede::config::Config;

/// A directory that goes with its test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("stompede-http-files-{}-{number}", std::process::id());
        let dir = Dir(std::env::temp_dir().join(name));
        fs::create_dir_all(dir.0.join("public/sub")).expect("made");
        dir
    }

    fn public(&self) -> PathBuf {
        self.0.join("public")
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.public().join(path), bytes).expect("written");
    }

    fn serve(&self) -> Running {
        start(Config { static_dir: Some(self.public()), ..config() })
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_give_way_to_nothing_and_the_demo_page_to_files() {
    let dir = Dir::new();
    dir.write("demo.css", "mine");
    dir.write("sub/index.html", "<p>sub");
    let server = dir.serve();
    let mut client = Client::connect(server.http_address);
    assert_eq!(client.get("/demo.css", "").text(), "mine");
    assert!(client.get("/", "").text().contains("<html"));
    assert!(client.get("/demo.js", "").status == 200);
    for path in ["/sub/", "/sub/index.html", "/%73ub/?x"] {
        let answer = client.get(path, "");
        assert_eq!((answer.status, &*answer.text()), (200, "<p>sub"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
    dir.write("index.html", "home");
    assert_eq!(client.get("/", "").text(), "home");
    assert_eq!(client.get("/missing", "").status, 404);
    assert_eq!(client.request("POST /demo.css", "").status, 405);
    let head = client.request("HEAD /demo.css", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    assert_eq!(client.request("HEAD /missing", "").status, 404);
    assert_eq!(client.get("/demo.css", "").status, 200);
}

#[test]
fn a_directory_is_found_behind_its_slash() {
    let dir = Dir::new();
    dir.write("sub/index.html", "<p>sub");
    fs::create_dir(dir.public().join("empty")).expect("made");
    let server = dir.serve();
    let mut client = Client::connect(server.http_address);
    for (path, location) in [("/sub", "/sub/"), ("/%73ub?a=1", "/%73ub/?a=1")] {
        for answer in [client.get(path, ""), client.request(&format!("HEAD {path}"), "")] {
            assert_eq!((answer.status, answer.header("location")), (301, Some(location)));
        }
    }
    for path in ["/empty", "/empty/", "/sub/index.html/", "//sub"] {
        assert_eq!(client.get(path, "").status, 404, "{path}");
    }
}

#[test]
fn what_is_missing_is_told_with_what_is_there() {
    let dir = Dir::new();
    let sockjs_prefixes = vec!["/a".to_owned(), "/b/c".to_owned()];
    let with = Config { static_dir: Some(dir.public()), sockjs_prefixes, ..config() };
    let text = Client::connect(start(with).http_address).get("/missing", "").text();
    for part in ["no such file in --static-dir", "/ws (WebSocket)", "/a (SockJS)", "/b/c (SockJS)"]
    {
        assert!(text.contains(part), "{text}");
    }
    let without = Config { sockjs_prefixes: Vec::new(), ..config() };
    let text = Client::connect(start(without).http_address).get("/missing", "").text();
    assert!(text.contains("no such page here") && !text.contains("SockJS"), "{text}");
}

#[test]
fn conditions_and_ranges() {
    let dir = Dir::new();
    dir.write("a.txt", "0123456789");
    let server = dir.serve();
    let mut client = Client::connect(server.http_address);
    let whole = client.get("/a.txt", "");
    let etag = whole.header("etag").expect("a tag").to_owned();
    let modified = whole.header("last-modified").expect("a date").to_owned();
    assert_eq!(client.get("/a.txt", &format!("If-None-Match: {etag}\r\n")).status, 304);
    assert_eq!(client.get("/a.txt", &format!("If-Modified-Since: {modified}\r\n")).status, 304);
    let part = client.get("/a.txt", &format!("Range: bytes=2-4\r\nIf-Range: {etag}\r\n"));
    assert_eq!((part.status, &*part.text()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(client.get("/a.txt", "Range: bytes=-3\r\n").text(), "789");
    let stale = client.get("/a.txt", "Range: bytes=2-4\r\nIf-Range: \"old\"\r\n");
    assert_eq!((stale.status, stale.body.len()), (200, 10));
    assert_eq!(client.get("/a.txt", "Range: bytes=0-1,3-4\r\n").status, 200);
    let beyond = client.get("/a.txt", "Range: bytes=10-\r\n");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(client.get("/a.txt", "If-Match: \"old\"\r\n").status, 412);
    dir.write("a.txt", "changed");
    assert_eq!(client.get("/a.txt", &format!("If-None-Match: {etag}\r\n")).text(), "changed");
    dir.write("empty", "");
    let empty = client.get("/empty", "");
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    assert_eq!(empty.header("content-type"), Some("application/octet-stream"));
}

#[test]
fn c19_nothing_outside_and_nothing_hidden() {
    let dir = Dir::new();
    fs::write(dir.0.join("secret"), "secret").expect("written");
    dir.write(".hidden", "secret");
    fs::create_dir(dir.public().join(".git")).expect("made");
    dir.write(".git/config", "secret");
    dir.write("sub/a.txt", "fine");
    symlink(dir.0.join("secret"), dir.public().join("out")).expect("linked");
    symlink("../..", dir.public().join("sub/up")).expect("linked");
    symlink("sub/a.txt", dir.public().join("inside")).expect("linked");
    let server = dir.serve();
    let mut client = Client::connect(server.http_address);
    let absolute = format!("/{}", dir.0.join("secret").display());
    for path in [
        "/out",
        "/sub/up/secret",
        "/.hidden",
        "/.git/config",
        "/%2ehidden",
        "/sub//a.txt",
        &absolute,
    ] {
        let answer = client.get(path, "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("secret"));
    }
    assert_eq!(client.get("/inside", "").text(), "fine");
    for path in ["/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/a%00"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(server.http_address, request).status, 400, "{path}");
    }
}

#[test]
fn compressed_siblings_are_taken_if_the_client_likes_them() {
    let dir = Dir::new();
    dir.write("a.js", "plain");
    dir.write("a.js.gz", "gzipped");
    let server = dir.serve();
    let mut client = Client::connect(server.http_address);
    let plain = client.get("/a.js", "Accept-Encoding: br\r\n");
    assert_eq!((&*plain.text(), plain.header("content-encoding")), ("plain", None));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    let gzip = client.get("/a.js", "Accept-Encoding: br, gzip\r\n");
    assert_eq!((&*gzip.text(), gzip.header("content-encoding")), ("gzipped", Some("gzip")));
    assert_eq!(gzip.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_ne!(gzip.header("etag"), plain.header("etag"));
}

#[test]
fn a_large_file_is_in_memory_piece_by_piece() {
    const BYTES: usize = 32 << 20;
    let dir = Dir::new();
    // Holes read as zeros; a mark every MiB shows that pieces come in order.
    let file = File::create(dir.public().join("big.bin")).expect("made");
    file.set_len(BYTES as u64).expect("grown");
    for mark in 0..32 {
        use std::os::unix::fs::FileExt as _;
        file.write_all_at(&[mark + 1], u64::from(mark) << 20).expect("written");
    }
    for io in drivers() {
        let static_dir = Some(dir.public());
        // However long the others take.
        let stall_deadline = Duration::from_secs(3_600);
        let server = start(Config { io, static_dir, stall_deadline, ..config() });
        let mut slow = Client::connect(server.http_address);
        slow.send(
            "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        // The slow one holds a piece; others are served meanwhile.
        let mut other = Client::connect(server.http_address);
        let mut waiting_max = 0;
        for _ in 0..100 {
            assert_eq!(other.get("/missing", "").status, 404);
            waiting_max = waiting_max.max(server.metrics(0).outbound_bytes.get());
        }
        let mut head = slow.answer(true);
        assert_eq!(head.header("content-length"), Some(&*BYTES.to_string()));
        for mark in 0..32 {
            head.body = slow.bytes(1 << 20);
            waiting_max = waiting_max.max(server.metrics(0).outbound_bytes.get());
            assert_eq!(head.body[0], mark + 1);
            assert!(head.body[1..].iter().all(|byte| *byte == 0));
        }
        assert_eq!(slow.answer(false).status, 404);
        assert!(waiting_max <= 66_000, "{waiting_max} bytes waited");
    }
}

#[test]
fn a_directory_that_is_none_is_refused_at_the_start() {
    let missing = Path::new("/nonexistent-stompede").to_path_buf();
    let config = Config { static_dir: Some(missing), ..config() };
    let error = stompede::Server::start(config).err().expect("refused").to_string();
    assert!(error.contains("static-dir"), "{error}");
}
