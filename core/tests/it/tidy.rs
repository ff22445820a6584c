//! The house rules, as tests: layering, sizes, module comments, banned names.
//!
//! Every rule reads the sources of the whole workspace and reports all violations at once, one a
//! line: `file:line: what was seen; what is allowed`. There are no exemptions in the sources; what
//! is allowed where is in the constants below, and is changed there, in sight of a review.
//!
//! Rules on code look at a view of the file in which comments and literals are blanked, so that
//! prose may speak of what code may not do.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold the workspace's Rust files; one that does not exist yet is empty.
const RUST_DIRS: [&str; 9] = [
    "core/src",
    "core/tests",
    "server/src",
    "server/tests",
    "server/examples",
    "server/fuzz",
    "bench/src",
    "bench/tests",
    "bench/benches",
];

/// Directories that are never committed (see `.gitignore`).
const UNTRACKED_DIRS: [&str; 5] = [".git", "target", "node_modules", "__pycache__", ".venv"];

const COLUMNS_MAX: usize = 100;
const LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 8] =
    ["util", "utils", "helper", "common", "misc", "types", "manager", "base"];

/// Module of `core` and what it may use besides itself. A new module of `core` needs a line here.
const LAYERS: [(&str, &[&str]); 9] = [
    ("limits", &[]),
    ("amount", &[]),
    ("outbound", &["limits"]),
    ("search", &[]),
    ("http", &["limits", "outbound", "search"]),
    ("ws", &["limits", "outbound", "search"]),
    ("sockjs", &["limits", "outbound", "search"]),
    ("stomp", &["limits", "outbound", "search"]),
    ("broker", &["limits", "amount", "outbound", "search", "stomp"]),
];

/// What `core` may not use: sockets, clocks, threads, the runtime.
const CORE_BANNED_PATHS: [&str; 5] =
    ["std::net", "std::thread", "std::time::SystemTime", "std::time::Instant::now", "monoio"];

/// The modules of `core` that the reactor may know: it moves bytes and knows no protocol.
const REACTOR_CORE_MODULES: [&str; 2] = ["limits", "outbound"];

/// Where `unsafe` is allowed: a directory (with `/` at its end) or a file.
const UNSAFE_PLACES: [&str; 4] = [
    "server/src/reactor/",
    "server/src/mesh.rs",
    "server/src/probe.rs",
    "server/src/shard/affinity.rs",
];

/// Hosts of package registries, in pieces, so that this file does not name one.
const REGISTRY_HOSTS: [(&str, &str); 7] = [
    ("index.", "crates.io"),
    ("static.", "crates.io"),
    ("registry.", "npmjs.org"),
    ("registry.", "yarnpkg.com"),
    ("pypi", ".org"),
    ("files.", "pythonhosted.org"),
    ("proxy.", "golang.org"),
];

/// One Rust file of the workspace.
pub struct Source {
    /// Path from the workspace's root, with `/`.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// `text` with comments and literals blanked, line by line the same.
    pub code: String,
}

#[test]
fn every_file_starts_with_a_module_comment() {
    let mut seen = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            let first = source.text.lines().next().unwrap_or("");
            seen.push(format!(
                "{}:1: starts with `{first}`; a file starts with a `//!` comment",
                source.path
            ));
        }
    }
    report(seen);
}

#[test]
fn lines_and_files_are_short() {
    let mut seen = Vec::new();
    for source in sources() {
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                seen.push(format!(
                    "{}:{number}: {columns} columns; {COLUMNS_MAX} are allowed",
                    source.path
                ));
            }
        }
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            seen.push(format!(
                "{}:{lines}: {lines} lines; {LINES_MAX} are allowed, split the file by topic",
                source.path
            ));
        }
    }
    report(seen);
}

#[test]
fn names_of_files_say_what_is_inside() {
    let mut seen = Vec::new();
    for source in sources() {
        let stem = source.path.trim_end_matches(".rs");
        for part in stem.split('/').filter(|part| BANNED_NAMES.contains(part)) {
            seen.push(format!(
                "{}:1: named `{part}`; a name of what is inside is allowed, not one of {}",
                source.path,
                BANNED_NAMES.join(", ")
            ));
        }
    }
    report(seen);
}

#[test]
fn modules_of_core_depend_in_one_direction() {
    let mut seen = Vec::new();
    for source in sources() {
        let Some(modules) = core_modules(&source.path) else { continue };
        let Some(own) = modules.first() else { continue };
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| name == own) else {
            seen.push(format!(
                "{}:1: `{own}` has no layer; modules with a line in LAYERS are allowed: {}",
                source.path,
                LAYERS.map(|(name, _)| name).join(", ")
            ));
            continue;
        };
        for (line, path) in paths(&source.code, &["crate", "super"]) {
            let Some(used) = crate_module(&path, modules.len()) else { continue };
            let layered = LAYERS.iter().any(|(name, _)| *name == used);
            if (layered || used == "*") && used != *own && !allowed.contains(&used.as_str()) {
                seen.push(format!(
                    "{}:{line}: `{own}` uses `{path}`; allowed: {own}, {}",
                    source.path,
                    allowed.join(", ")
                ));
            }
        }
    }
    report(seen);
}

#[test]
fn core_has_no_sockets_clocks_or_threads() {
    let mut seen = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("core/src/")) {
        for (line, path) in paths(&source.code, &["std", "monoio", "Instant", "SystemTime"]) {
            let full = match path.split("::").next() {
                Some("Instant" | "SystemTime") => format!("std::time::{path}"),
                _ => path.clone(),
            };
            let banned = |ban: &str| full == ban || full.starts_with(&format!("{ban}::"));
            if let Some(ban) = CORE_BANNED_PATHS.iter().find(|ban| banned(ban)) {
                seen.push(format!(
                    "{}:{line}: `{path}`; core takes bytes and time as arguments, {ban} is not \
                     allowed",
                    source.path
                ));
            }
        }
    }
    report(seen);
}

#[test]
fn reactor_knows_no_protocol() {
    let mut seen = Vec::new();
    for source in sources() {
        if !source.path.starts_with("server/src/reactor") {
            continue;
        }
        for (line, path) in paths(&source.code, &["stompede_core"]) {
            let module = path.split("::").nth(1).unwrap_or("*");
            if !REACTOR_CORE_MODULES.contains(&module) {
                seen.push(format!(
                    "{}:{line}: `{path}`; of stompede_core the reactor is allowed: {}",
                    source.path,
                    REACTOR_CORE_MODULES.join(", ")
                ));
            }
        }
    }
    report(seen);
}

#[test]
fn unsafe_stays_in_its_places() {
    let mut seen = Vec::new();
    for source in sources() {
        let allowed = |place: &str| {
            source.path == place || (place.ends_with('/') && source.path.starts_with(place))
        };
        if UNSAFE_PLACES.iter().any(|place| allowed(place)) {
            continue;
        }
        for (number, line) in (1..).zip(source.code.lines()) {
            if words(line).any(|word| word == "unsafe") {
                seen.push(format!(
                    "{}:{number}: `unsafe`; it is allowed in {}",
                    source.path,
                    UNSAFE_PLACES.join(", ")
                ));
            }
        }
    }
    report(seen);
}

#[test]
fn no_file_names_a_package_registry() {
    let root = root();
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.iter().any(|file| file.ends_with("Cargo.lock")), "the walk missed Cargo.lock");
    let hosts = REGISTRY_HOSTS.map(|(head, tail)| format!("{head}{tail}"));
    let mut seen = Vec::new();
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(&file).expect("readable")).into_owned();
        for (number, line) in (1..).zip(text.lines()) {
            for host in hosts.iter().filter(|host| line.contains(host.as_str())) {
                seen.push(format!(
                    "{}:{number}: names `{host}`; the package client's own setting is allowed",
                    relative(&root, &file)
                ));
            }
        }
    }
    report(seen);
}

/// Fails with all violations, one a line.
pub fn report(seen: Vec<String>) {
    assert!(seen.is_empty(), "{} violation(s):\n{}", seen.len(), seen.join("\n"));
}

pub fn root() -> PathBuf {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    core.parent().expect("core is inside the workspace").to_path_buf()
}

pub fn relative(root: &Path, file: &Path) -> String {
    let path = file.strip_prefix(root).expect("below the root");
    path.to_string_lossy().replace('\\', "/")
}

/// All Rust files of the workspace, in the order of their paths.
pub fn sources() -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for dir in RUST_DIRS {
        walk(&root.join(dir), &mut files);
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a Rust file is UTF-8");
        Source { path: relative(&root, file), code: code_only(&text), text }
    };
    let sources: Vec<Source> = files.iter().map(read).collect();
    for must in ["core/src/lib.rs", "server/src/main.rs"] {
        assert!(sources.iter().any(|source| source.path == must), "the walk missed {must}");
    }
    sources
}

pub fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let entry = entry.expect("readable directory");
        let kind = entry.file_type().expect("file type");
        let name = entry.file_name();
        if kind.is_file() {
            files.push(entry.path());
        } else if kind.is_dir() && !UNTRACKED_DIRS.iter().any(|dir| name == *dir) {
            walk(&entry.path(), files);
        }
    }
}

/// Module path of a file of `core`: `core/src/ws/mask.rs` is `[ws, mask]`, `lib.rs` is empty.
fn core_modules(path: &str) -> Option<Vec<&str>> {
    let inner = path.strip_prefix("core/src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    Some(if inner == "lib" { Vec::new() } else { inner.split('/').collect() })
}

/// The top module of `core` that a `crate::` or `super::` path names, seen from a file at `depth`.
///
/// Inline modules (`mod tests`) add a `super` that is not counted here; such a path ends in the
/// file's own module, or higher, where the answer is the same.
fn crate_module(path: &str, depth: usize) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    let supers = parts.iter().take_while(|part| **part == "super").count();
    let at_root = parts.first() == Some(&"crate") || supers >= depth;
    let module = parts.get(supers.max(1))?;
    // `use super::*` in a top module's tests names the module itself, not the crate.
    (at_root && !(supers > 0 && *module == "*")).then(|| module.to_string())
}

/// All paths of the code that start with one of `roots`, use-trees expanded, with their lines.
fn paths(code: &str, roots: &[&str]) -> Vec<(usize, String)> {
    let chars: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if !is_word(chars[at]) {
            at += 1;
            continue;
        }
        let word = word_at(&chars, at);
        let end = at + word.chars().count();
        let inner = at >= 2 && chars[at - 1] == ':' && chars[at - 2] == ':';
        if roots.contains(&word.as_str()) && !inner {
            expand(&chars, at, "", &mut found);
        }
        at = end;
    }
    let line_of = |at: usize| 1 + chars[..at].iter().filter(|c| **c == '\n').count();
    found.into_iter().map(|(at, path)| (line_of(at), path)).collect()
}

/// Adds the paths of the use-tree or path that starts at `at`; returns where it ends.
fn expand(chars: &[char], mut at: usize, prefix: &str, found: &mut Vec<(usize, String)>) -> usize {
    let start = at;
    let mut path = prefix.to_string();
    loop {
        at = skip_space(chars, at);
        match chars.get(at) {
            Some('{') => {
                at = skip_space(chars, at + 1);
                while at < chars.len() && chars[at] != '}' {
                    let next = expand(chars, at, &path, found);
                    // After a member: `as name`, a comma, or something that is no use-tree.
                    at = next.max(at + 1);
                    while at < chars.len() && !matches!(chars[at], ',' | '}') {
                        at += 1;
                    }
                    if chars.get(at) == Some(&',') {
                        at = skip_space(chars, at + 1);
                    }
                }
                return at + 1;
            }
            Some('*') => {
                path.push('*');
                at += 1;
                break;
            }
            Some(c) if is_word(*c) => {
                let word = word_at(chars, at);
                at += word.chars().count();
                path.push_str(&word);
            }
            _ => break,
        }
        let colons = skip_space(chars, at);
        if chars.get(colons) == Some(&':') && chars.get(colons + 1) == Some(&':') {
            path.push_str("::");
            at = colons + 2;
        } else {
            break;
        }
    }
    found.push((start, path.trim_end_matches("::").to_string()));
    at
}

fn skip_space(chars: &[char], mut at: usize) -> usize {
    while chars.get(at).is_some_and(|c| c.is_whitespace()) {
        at += 1;
    }
    at
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_at(chars: &[char], at: usize) -> String {
    chars[at..].iter().take_while(|c| is_word(**c)).collect()
}

pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !is_word(c))
}

/// The text with comments, strings and character literals replaced by spaces, newlines kept.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else if is_word(chars[at]) {
            // A whole word at once, so that the `r` of `for"x"` starts no raw string.
            let word = word_at(&chars, at);
            at += word.chars().count();
            out.push_str(&word);
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that starts at `at` ends; `at` when none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |ahead: usize| chars.get(at + ahead).copied().unwrap_or('\0');
    match (next(0), next(1)) {
        ('/', '/') => chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at + 1, '"'),
        ('\'', '\\') => string_end(chars, at + 1, '\''),
        ('\'', _) if next(2) == '\'' => at + 3,
        ('b', '\'') => string_end(chars, at + 2, '\''),
        ('b' | 'c', '"') => string_end(chars, at + 2, '"'),
        ('r', '"' | '#') => raw_string_end(chars, at, at + 1),
        ('b' | 'c', 'r') => raw_string_end(chars, at, at + 2),
        _ => at,
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `hashes` is where the `#`s or the quote follow; not a raw string (`r#type`): `start`.
fn raw_string_end(chars: &[char], start: usize, hashes: usize) -> usize {
    let count = chars[hashes..].iter().take_while(|c| **c == '#').count();
    if chars.get(hashes + count) != Some(&'"') {
        return start;
    }
    let mut at = hashes + count + 1;
    while at < chars.len() {
        let closes = chars[at] == '"'
            && chars[at + 1..].iter().take(count).filter(|c| **c == '#').count() == count;
        at += 1;
        if closes {
            return at + count;
        }
    }
    chars.len()
}

#[test]
fn code_view_blanks_comments_and_literals() {
    let text =
        "a // unsafe\n/* x /* y */ unsafe */ b \"un\\\"safe\" c 'u' '\\'' r#\"q\"unsafe\"# d \
                b'x' r#type &'a str";
    let code = code_only(text);
    assert_eq!(code.lines().count(), text.lines().count());
    let kept: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(kept, ["a", "b", "c", "d", "r#type", "&'a", "str"]);
}

#[test]
fn paths_are_found_and_use_trees_expanded() {
    let code = "use crate::{ws::{self, Mask as M}, http::*};\nlet x = crate :: stomp::decode(y);\n\
                use super::super::broker; mycrate::no; x::crate_no;";
    let found = paths(code, &["crate", "super"]);
    let expected = [
        (1, "crate::ws::self"),
        (1, "crate::ws::Mask"),
        (1, "crate::http::*"),
        (2, "crate::stomp::decode"),
        (3, "super::super::broker"),
    ];
    let found: Vec<(usize, &str)> = found.iter().map(|(n, path)| (*n, path.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn paths_are_resolved_to_modules_of_core() {
    assert_eq!(core_modules("core/src/ws/mod.rs"), Some(vec!["ws"]));
    assert_eq!(core_modules("core/src/lib.rs"), Some(vec![]));
    assert_eq!(crate_module("crate::ws::Mask", 2).as_deref(), Some("ws"));
    assert_eq!(crate_module("super::ws", 1).as_deref(), Some("ws"));
    assert_eq!(crate_module("super::frame", 2), None);
    assert_eq!(crate_module("super::super::ws", 2).as_deref(), Some("ws"));
    assert_eq!(crate_module("super::*", 1), None);
}
