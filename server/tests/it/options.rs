//! What README shows is what there is: its table of options is the one that the program knows, and
//! its guide is the file that `scripts/e2e/run guide` runs against a server.
//!
//! `STOMPEDE_BLESS=1 cargo test -p stompede --test it options` writes both anew.

use std::path::Path;
use stompede::config::options::readme_table;

/// Compares what stands in README between two marks of this name; or puts it there.
fn check(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let (before, rest) = readme.split_once(&begin).expect("the begin of the part");
    let (seen, after) = rest.split_once(&end).expect("the end of the part");
    if std::env::var_os("STOMPEDE_BLESS").is_some() {
        let blessed = format!("{before}{begin}{wanted}{end}{after}");
        std::fs::write(&path, blessed).expect("README.md is writable");
        return;
    }
    assert_eq!(seen, wanted, "run this test with STOMPEDE_BLESS=1 to write it anew");
}

#[test]
fn the_readme_lists_every_option_and_shows_the_guide() {
    // One test, for both write the same file.
    check("options", &readme_table());
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/e2e/guide.mjs");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    check("guide", &format!("```js\n{guide}```\n"));
}
