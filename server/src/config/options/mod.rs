//! The one table of options.
//!
//! The command line, the environment, the configuration file, `--help`, `config show` and the
//! table in README.md are all made from [`all`]; nothing else in the program knows an option's
//! name. A row `drain-rate` is the flag `--drain-rate`, the variable `STOMPEDE_DRAIN_RATE` and the
//! key `drain-rate` (or `drain_rate`) of the file. The rows are in one file per subject.
//!
//! Rows are applied in the order of the table: `frame-max` raises the WebSocket limit with it, and
//! `ws-message-max` after it has the last word.

use std::fmt::Write as _;

use super::Config;

/// One option.
pub struct Opt {
    /// Name, in lower case with dashes.
    pub name: &'static str,
    /// What stands for the value in help, unit included; empty for a switch.
    pub value: &'static str,
    /// The default as one would write it; empty if it is not set.
    pub default: &'static str,
    /// One sentence for help and README.
    pub doc: &'static str,
    /// It is a list: flags first, then environment, then file, where it is an array.
    pub repeatable: bool,
    /// What separates the values of a repeatable option in the environment: newline and, where no
    /// value may hold one, comma; rules also `;`.
    pub separators: &'static [char],
    /// Its value must not be printed.
    pub secret: bool,
    /// Reads a value into the configuration. The error says what is allowed.
    pub apply: fn(&mut Config, &str) -> Result<(), String>,
    /// Writes the value as `apply` reads it; values of a repeatable option one a line.
    pub show: fn(&Config) -> String,
}

impl Opt {
    /// Name of its environment variable.
    pub fn env(&self) -> String {
        format!("STOMPEDE_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// True for an option that is `true` or `false` and may stand alone as a flag.
    pub fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

const BASE: Opt = Opt {
    name: "",
    value: "",
    default: "",
    doc: "",
    repeatable: false,
    separators: &['\n', ','],
    secret: false,
    apply: |_, _| Ok(()),
    show: |_| String::new(),
};

/// A row whose value has a parser and a writer of its own.
macro_rules! row {
    ($name:literal, $value:literal, $default:literal, $doc:literal, $($field:ident).+,
     $parse:expr, $show:expr) => {
        Opt {
            name: $name,
            value: $value,
            default: $default,
            doc: $doc,
            apply: |config, text| {
                config.$($field).+ = $parse(text)?;
                Ok(())
            },
            show: |config| $show(config.$($field).+.clone()),
            ..BASE
        }
    };
}

macro_rules! size {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "BYTES", $default, $doc, $($field).+, value::size, value::show_size)
    };
}

macro_rules! count {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "COUNT", $default, $doc, $($field).+, value::count, |count| format!("{count}"))
    };
}

macro_rules! deadline {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "TIME", $default, $doc, $($field).+, value::deadline, value::show_duration)
    };
}

macro_rules! switch {
    ($name:literal, $default:literal, $doc:literal, $($field:ident).+) => {
        row!($name, "", $default, $doc, $($field).+, value::switch, |on| format!("{on}"))
    };
}

// Below the macros, which they use.
mod connections;
mod delivery;
mod logging;
mod queues;
mod server;
mod sockjs;
mod stomp;
mod web;

/// The subjects in the order of help, with what it calls them.
static TABLE: [(&str, &[Opt]); 8] = [
    ("What is served, where and to whom", server::ROWS),
    ("Slow clients, history, memory", delivery::ROWS),
    ("Connections, log-in, drain, heart-beats", connections::ROWS),
    ("STOMP", stomp::ROWS),
    ("Queues", queues::ROWS),
    ("WebSocket, HTTP, compression", web::ROWS),
    ("SockJS", sockjs::ROWS),
    ("Log", logging::ROWS),
];

/// Every option there is, in the order of help.
pub fn all() -> impl Iterator<Item = &'static Opt> {
    subjects().flat_map(|(_, rows)| rows)
}

/// Every option by its subject, in the order of help.
pub fn subjects() -> impl Iterator<Item = (&'static str, &'static [Opt])> {
    TABLE.into_iter()
}

/// The option of that name; dashes and underscores are the same.
pub fn find(name: &str) -> Option<&'static Opt> {
    let name = name.replace('_', "-");
    all().find(|option| option.name == name)
}

/// README's table of options, in Markdown.
pub fn readme_table() -> String {
    let mut table = String::from("| flag | environment | default | meaning |\n|---|---|---|---|\n");
    for option in all() {
        let value = match option.value {
            "" => String::new(),
            value => format!(" {value}"),
        };
        let default = match option.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let (name, env, doc) = (option.name, option.env(), option.doc);
        let again = if option.repeatable { "; a list" } else { "" };
        let _ = writeln!(table, "| `--{name}{value}` | `{env}` | {default} | {doc}{again} |");
    }
    table
}

/// The configuration as a TOML file, which gives the same configuration when it is read again;
/// only passwords are left out.
pub fn show_toml(config: &Config) -> String {
    let mut file = String::new();
    for option in all().skip_while(|option| option.name == "config") {
        let (name, shown) = (option.name, (option.show)(config));
        let _ = match (option.repeatable, option.secret, shown.is_empty()) {
            (_, _, true) => writeln!(file, "# {name} is not set"),
            (_, true, _) => writeln!(file, "# {name} = {}", array(&shown)),
            (true, ..) => writeln!(file, "{name} = {}", array(&shown)),
            _ if option.is_switch() => writeln!(file, "{name} = {shown}"),
            _ => writeln!(file, "{name} = {}", toml::Value::from(shown)),
        };
    }
    file
}

fn array(lines: &str) -> String {
    toml::Value::from(lines.lines().collect::<Vec<_>>()).to_string()
}

#[cfg(test)]
mod tests;
