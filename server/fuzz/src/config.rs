//! The configuration: any file and any command line is taken or refused in words, and what
//! `config show` prints gives the same configuration again.

use crate::source::Source;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use stompede::config::options::{show_toml, OPTIONS};
use stompede::config::{parse, parse_file, Config, Invocation};
use stompede::shard::Shared;

/// The first byte chooses a file, or a command line and an environment.
pub fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.below(3) {
        0 => file(&String::from_utf8_lossy(source.rest())),
        1 => known_options(source),
        _ => command_line(source),
    }
}

fn file(text: &str) {
    match parse_file(Path::new("f.toml"), text) {
        Ok(config) => check(config),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A file in which the names are right.
fn known_options(mut source: Source<'_>) {
    let mut text = String::new();
    while !source.is_empty() {
        let option = &OPTIONS[source.below(OPTIONS.len())];
        let value = match source.below(3) {
            0 => option.default.to_owned(),
            1 => format!("{}{}", source.byte(), source.pick(&["", "s", "ms", "k", "MiB", "h"])),
            _ => source.text(40),
        };
        let quoted: String = value.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
        text.push_str(&format!("{} = \"{quoted}\"\n", option.name));
    }
    file(&text);
}

fn command_line(mut source: Source<'_>) {
    let words = source.below(4);
    let args: Vec<OsString> =
        (0..words).map(|_| OsString::from_vec(source.bytes(30).to_vec())).collect();
    // A file that is named would be read: fuzzing stays off the disk.
    let is_file = |word: &OsString| word.to_string_lossy().contains("file");
    let is_config = |word: &OsString| word.to_string_lossy().contains("config");
    if args.iter().any(|word| is_file(word) || is_config(word)) {
        return;
    }
    let args = std::iter::once(OsString::from("stompede")).chain(args);
    let mut env = Vec::new();
    while !source.is_empty() {
        let option = &OPTIONS[source.below(OPTIONS.len())];
        if !matches!(option.name, "config" | "users-file") {
            env.push((option.env(), source.text(40)));
        }
    }
    match parse(args, env.into_iter()) {
        Ok(Invocation::Serve(config) | Invocation::Probe(config)) => check(config),
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(mut config: Config) {
    if config.users.is_empty() {
        let shown = show_toml(&config);
        match parse_file(Path::new("shown.toml"), &shown) {
            Ok(again) => assert_eq!(again, config, "{shown}"),
            Err(error) => panic!("{error}\n{shown}"),
        }
    }
    config.users_file = None;
    config.shards = config.shards.min(2);
    let _ = Shared::new(config, 1, "fuzz");
}
