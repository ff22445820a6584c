//! The table of hostile cases and of what covers each, made from the sources.
//!
//! The rows are in `scripts/conformance/catalogue.txt`. A row is covered by a test whose name
//! begins with its id (`c04_c05_limits`, `e01_to_e07_heads`), by one with `Catalogue: H12, I03.`
//! in the comment above it, or by an attack of `stompede-bench` with that id. A row that nothing
//! covers needs a reason, and a covered one must have none. `STOMPEDE_BLESS=1` writes the table.

use super::tidy::{relative, root, walk};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

const ROWS: &str = "scripts/conformance/catalogue.txt";
const TABLE: &str = "scripts/conformance/catalogue.md";
/// Where attacks are.
const ATTACKS: &str = "bench/src/attack/";
/// Where tests are: directories, and the ends of the names of their files.
const TESTS: [(&str, &str); 8] = [
    ("core/src", ".rs"),
    ("core/tests/it", "/construction.rs"),
    ("server/src", ".rs"),
    ("server/tests", ".rs"),
    ("bench/src", ".rs"),
    ("bench/tests", ".rs"),
    ("scripts/e2e", ".mjs"),
    ("scripts/e2e", ".py"),
];

/// What covers a row, by its id.
type Covers = BTreeMap<String, Vec<String>>;

#[test]
fn the_table_of_hostile_cases_is_up_to_date() {
    let rows = fs::read_to_string(root().join(ROWS)).expect("the rows are there");
    let (table, mistakes) = table(&rows, &covers());
    assert!(mistakes.is_empty(), "{ROWS}:\n{}", mistakes.join("\n"));
    if std::env::var_os("STOMPEDE_BLESS").is_some() {
        fs::write(root().join(TABLE), &table).expect("the table can be written");
    }
    let present = fs::read_to_string(root().join(TABLE)).unwrap_or_default();
    assert!(present == table, "{TABLE} is stale; write it with STOMPEDE_BLESS=1");
}

#[test]
fn ids_are_found_in_names_comments_and_attacks() {
    let mut covers = Covers::new();
    let source = "/// Catalogue: H12, I03.\n#[test]\nfn heart_beats() {}\n\
                  fn c04_c05_limits() {}\nfn e01_to_e03_heads(\n    id: \"A01\",\nfn a1_b() {}\n";
    read("a.rs", source, false, &mut covers);
    read("b.rs", "    id: \"A01\",\nfn a02_x() {}", true, &mut covers);
    let ids: Vec<&str> = covers.keys().map(String::as_str).collect();
    assert_eq!(ids, ["A01", "C04", "C05", "E01", "E02", "E03", "H12", "I03"]);
    assert_eq!(covers["H12"], ["`a.rs`: heart_beats"]);
    assert_eq!(covers["A01"], ["attack"]);
}

#[test]
fn rows_without_reason_and_reasons_without_need_are_mistakes() {
    let covers = Covers::from([
        ("A01".to_owned(), vec!["attack".to_owned()]),
        ("Z99".to_owned(), vec!["attack".to_owned()]),
    ]);
    let rows = "A | one\nA01 | a | why\nA02 | b\nB | two | none\nB01 | c\n";
    let (table, mistakes) = table(rows, &covers);
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    assert!(table.contains("| B01 | c | *none* |"), "{table}");
}

/// All that covers a row, in the order of paths.
fn covers() -> Covers {
    let mut covers = Covers::new();
    let root = root();
    for (directory, end) in TESTS {
        let mut files = Vec::new();
        walk(&root.join(directory), &mut files);
        files.sort();
        for file in files {
            let path = relative(&root, &file);
            if !path.ends_with(end) {
                continue;
            }
            let text = fs::read_to_string(file).expect("a source is UTF-8");
            read(&path, &text, path.starts_with(ATTACKS), &mut covers);
        }
    }
    covers
}

/// Adds what one file covers.
fn read(path: &str, text: &str, is_attack: bool, covers: &mut Covers) {
    let mut noted: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if is_attack {
            let id = line.strip_prefix("id: \"").and_then(|rest| rest.get(..3));
            id.into_iter().for_each(|id| cover(covers, id, "attack".to_owned()));
            continue;
        }
        let comment = line.trim_start_matches(['/', '#']).trim_start();
        if let Some(ids) = comment.strip_prefix("Catalogue: ") {
            noted.extend(ids.trim_end_matches('.').split(", ").map(str::to_owned));
        }
        let Some(name) = named(line) else { continue };
        for id in noted.drain(..).chain(ids_of(name)) {
            cover(covers, &id, format!("`{path}`: {name}"));
        }
    }
}

fn cover(covers: &mut Covers, id: &str, by: String) {
    let list = covers.entry(id.to_owned()).or_default();
    if !list.contains(&by) {
        list.push(by);
    }
}

/// The name of the test that begins in this line.
fn named(line: &str) -> Option<&str> {
    let quoted = line.strip_prefix("test('").and_then(|rest| rest.split('\'').next());
    let function =
        line.trim_start_matches("pub ").strip_prefix("fn ").or(line.strip_prefix("def "));
    quoted.or(function.and_then(|rest| rest.split(['(', '<']).next()))
}

/// The ids that a name begins with: `c04_c05_x`, or `e01_to_e07_x` for all between.
fn ids_of(name: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let mut is_range = false;
    for part in name.split('_') {
        let is_id =
            part.len() == 3 && matches!(part.as_bytes(), [b'a'..=b'o', b'0'..=b'9', b'0'..=b'9']);
        if !is_id && (part != "to" || ids.is_empty()) {
            break;
        }
        if is_id && is_range {
            let last = ids.last().and_then(|id| id[1..].parse::<u32>().ok()).unwrap_or(0);
            let (family, end) = (&part[..1], part[1..].parse().unwrap_or(0));
            ids.extend((last + 1..=end).map(|n| format!("{family}{n:02}").to_uppercase()));
        } else if is_id {
            ids.push(part.to_uppercase());
        }
        is_range = !is_id;
    }
    ids
}

/// The table, and what is wrong with the rows.
fn table(rows: &str, covers: &Covers) -> (String, Vec<String>) {
    let (mut text, mut mistakes, mut known) = (String::new(), Vec::new(), Vec::new());
    let (mut family_reason, mut covered) = ("", 0);
    for line in rows.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.split(" | ").collect();
        let (id, case) = (parts[0], parts.get(1).copied().unwrap_or(""));
        let reason = parts.get(2).copied().unwrap_or("");
        if id.len() == 1 {
            family_reason = reason;
            let columns = "| id | case | covered by |\n|---|---|---|";
            let _ = writeln!(text, "\n## {id}. {case}\n\n{columns}");
            continue;
        }
        known.push(id);
        let by = match covers.get(id) {
            Some(_) if !reason.is_empty() => {
                mistakes.push(format!("{id} is covered: it needs no reason"));
                continue;
            }
            Some(by) => {
                covered += 1;
                by.join("<br>")
            }
            None if reason.is_empty() && family_reason.is_empty() => {
                mistakes.push(format!("{id} ({case}) is not covered: write a test, or why not"));
                continue;
            }
            None if reason.is_empty() => format!("*{family_reason}*"),
            None => format!("*{reason}*"),
        };
        let _ = writeln!(text, "| {id} | {case} | {by} |");
    }
    for (id, by) in covers.iter().filter(|(id, _)| !known.contains(&id.as_str())) {
        mistakes.push(format!("{id} of {} is no row", by.join(", ")));
    }
    let head = "# The catalogue of hostile cases, and what covers each\n\n\
                Made from the sources by `core/tests/it/catalogue.rs`; the rows are in\n\
                `catalogue.txt`. *attack* is `stompede-bench attack ID`. In italics: why a row is\n\
                not covered.\n";
    let sum = format!("\n{covered} of {} rows are covered.\n", known.len());
    (format!("{head}{sum}{text}"), mistakes)
}
