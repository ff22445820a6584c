//! What can be wrong with a configuration, and how it is said: what was seen, what is allowed,
//! what to do. All of it is the operator's to fix; the program ends with exit code 2 before it
//! listens. Values of secret options are never part of a message.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, weakest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file given by `--config`.
    File(PathBuf),
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The command line does not parse; the text says why and what is near.
    Usage(String),
    /// A key or variable that no option has.
    Unknown {
        /// Where it stood.
        origin: Origin,
        /// The key or variable as written.
        seen: String,
        /// The nearest name there is.
        hint: Option<String>,
    },
    /// An option has a value that it cannot have.
    Invalid {
        /// Where it stood.
        origin: Origin,
        /// The option as written there.
        option: String,
        /// The value, or `***`.
        seen: String,
        /// What is allowed.
        allowed: String,
    },
    /// The file cannot be read or is not TOML.
    File {
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        why: String,
    },
    /// Each value is possible but not together, or something they name is not usable.
    Conflict(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment => f.write_str("environment"),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Usage(text) | ConfigError::Conflict(text) => f.write_str(text),
            ConfigError::Unknown { origin, seen, hint } => {
                write!(f, "{origin}: seen {seen:?}, which no option is called; ")?;
                match hint {
                    Some(hint) => write!(f, "did you mean {hint:?}?"),
                    None => f.write_str("remove it, or see stompede --help for all options"),
                }
            }
            ConfigError::Invalid { origin, option, seen, allowed } => {
                write!(f, "{origin}: seen {option} = {seen:?}; {allowed}")
            }
            ConfigError::File { path, why } => {
                write!(f, "seen --config {}, which cannot be used: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}
