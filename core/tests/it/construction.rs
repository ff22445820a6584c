//! Rows of the catalogue of hostile cases that hold by construction: what the server never does.
//!
//! A test that plays such a case would prove nothing; that the sources give no occasion does. Each
//! rule names the few places that may do what others may not.

use super::tidy::{report, sources, words, Source};

/// The server's own sources, without their tests.
fn server() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| {
        source.path.starts_with("server/src/") && !source.path.ends_with("tests.rs")
    });
    for source in &mut sources {
        let end = source.text.find("#[cfg(test)]\nmod tests {").unwrap_or(source.text.len());
        let lines = source.text[..end].lines().count();
        let own: Vec<&str> = source.code.lines().take(lines).collect();
        source.code = own.join("\n");
    }
    sources
}

/// Complains of `word` in the code of all files but `places`, and of a place without it.
fn only_in(word: &str, places: &[&str], why: &str) {
    let mut seen = Vec::new();
    let mut used = Vec::new();
    for source in server() {
        for (number, line) in (1..).zip(source.code.lines()) {
            if !words(line).any(|other| other == word) {
                continue;
            }
            used.push(source.path.clone());
            if !places.contains(&source.path.as_str()) {
                seen.push(format!("{}:{number}: `{word}`; {why}", source.path));
            }
        }
    }
    for place in places.iter().filter(|place| !used.iter().any(|path| path == *place)) {
        seen.push(format!("{place}: no `{word}` there any more; take it off the list"));
    }
    report(seen);
}

#[test]
fn i28_n07_the_time_of_day_is_asked_for_dates_alone() {
    let places = [
        "server/src/reactor/mod.rs",
        "server/src/shard/sockjs/request.rs",
        "server/src/static_files.rs",
    ];
    only_in("SystemTime", &places, "time is the reactor's monotonic clock");
    let places = [
        "server/src/reactor/mod.rs",
        "server/src/reactor/sim.rs",
        "server/src/shard/mod.rs",
        "server/src/shard/queues/clock.rs",
        "server/src/shard/queues/send.rs",
    ];
    only_in("unix_ms", &places, "lives run on the clock of queues/clock.rs");
}

#[test]
fn n16_no_name_is_ever_resolved() {
    for word in ["ToSocketAddrs", "getaddrinfo", "lookup_host"] {
        only_in(word, &[], "a resolver may hang: addresses are numbers");
    }
}

#[test]
fn l20_nothing_is_forked_while_rings_are_open() {
    // `passwd` asks the terminal by stty, and serves nobody.
    only_in("Stdio", &["server/src/main.rs"], "a child inherits what is open");
    only_in("fork", &[], "a child inherits what is open");
}

#[test]
fn l07_l08_l12_l21_the_reactor_submits_what_the_probe_asks_for_and_nothing_else() {
    // No provided buffers, no zero-copy sends, no files.
    let submitted = opcodes("server/src/reactor/uring.rs");
    let mut probed = opcodes("server/src/probe.rs");
    for name in &mut probed {
        if name == "Accept" {
            // Multishot is a flag of it.
            name.push_str("Multi");
        }
    }
    assert!(submitted.len() > 5);
    assert_eq!(submitted, probed);
}

/// The operations that this file names.
fn opcodes(path: &str) -> Vec<String> {
    let sources = server();
    let source = sources.iter().find(|source| source.path == path).expect("it is there");
    let named = source.code.split("opcode::").skip(1);
    let mut names: Vec<_> = named.filter_map(|rest| words(rest).next()).collect();
    names.retain(|name| name.starts_with(|first: char| first.is_ascii_uppercase()));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn j19_secrets_are_compared_in_constant_time() {
    let secrets = ["password", "passcode", "secret", "hash"];
    let mut seen = Vec::new();
    for source in server() {
        for (number, line) in (1..).zip(source.code.lines()) {
            let compares = line.contains("==") || line.contains("!=");
            if compares && words(line).any(|word| secrets.contains(&word)) {
                let path = &source.path;
                seen.push(format!("{path}:{number}: `{}`; auth::same is for secrets", line.trim()));
            }
        }
    }
    report(seen);
    only_in("ct_eq", &["server/src/auth.rs"], "there is one such comparison");
}
