//! The table of options is consistent with itself, with `Config` and with README.

use super::*;

#[test]
fn every_default_is_what_the_table_says() {
    for option in all().filter(|option| !option.default.is_empty()) {
        let mut config = Config::default();
        // A list that is not repeatable is one value.
        let separator = if option.repeatable { ',' } else { '\n' };
        for text in option.default.split(separator) {
            (option.apply)(&mut config, text).unwrap_or_else(|e| panic!("{}: {e}", option.name));
        }
        assert_eq!(config, Config::default(), "{}", option.name);
        let shown = (option.show)(&config);
        let mut again = Config::default();
        assert!(shown.lines().all(|text| (option.apply)(&mut again, text).is_ok()));
        assert_eq!(again, config, "{} shows {shown}", option.name);
    }
}

#[test]
fn names_are_unique_and_plain() {
    for (index, option) in all().enumerate() {
        assert!(all().take(index).all(|other| other.name != option.name));
        assert!(option.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        assert!(!option.doc.is_empty() && !option.doc.contains('|'), "{}", option.name);
    }
    assert_eq!(all().nth(1).map(Opt::env).as_deref(), Some("STOMPEDE_LISTEN"));
    assert_eq!(find("drain_rate").map(Opt::env).as_deref(), Some("STOMPEDE_DRAIN_RATE"));
}

#[test]
fn the_readme_table_has_one_row_per_option() {
    let table = readme_table();
    assert_eq!(table.lines().count(), all().count() + 2);
    assert!(table.lines().all(|line| line.matches('|').count() == 5), "{table}");
}

#[test]
fn no_password_is_shown() {
    let config = Config { users: vec![("ann".into(), "hunter2".into())], ..Config::default() };
    let shown = show_toml(&config);
    assert!(shown.contains("ann:***") && !shown.contains("hunter2"), "{shown}");
}
