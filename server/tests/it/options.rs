//! README's table of options is the one that the program itself knows.
//!
//! `STOMPEDE_BLESS=1 cargo test -p stompede --test it options` writes the table anew.

use std::path::Path;
use stompede::config::options::readme_table;

const BEGIN: &str = "<!-- options:begin -->\n";
const END: &str = "<!-- options:end -->";

#[test]
fn the_readme_lists_every_option() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the begin of the table");
    let (table, after) = rest.split_once(END).expect("the end of the table");
    if std::env::var_os("STOMPEDE_BLESS").is_some() {
        let blessed = format!("{before}{BEGIN}{}{END}{after}", readme_table());
        std::fs::write(&path, blessed).expect("README.md is writable");
        return;
    }
    assert_eq!(table, readme_table(), "run this test with STOMPEDE_BLESS=1 to write it anew");
}
