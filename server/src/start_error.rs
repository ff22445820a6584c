//! Why a server does not start. For a program that embeds it a variant per cause; as text, what an
//! operator is told, who has the options at hand.

use crate::config::ConfigError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a server did not start. Nothing of it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    // Of the program.
    /// The pattern of an endpoint or of a mapping; the text names it and says what is wrong.
    Pattern(String),

    // Of the configuration.
    /// Options that contradict each other: what [`Config::settle`](crate::config::Config::settle)
    /// said.
    Config(ConfigError),
    /// What an option names cannot be used (a users file, a rule, an origin, a path of SockJS); the
    /// text says why.
    Setting(String),
    /// The directory of `static_dir` cannot be served; the text says why.
    StaticDir(String),
    /// An address is in use, or not ours.
    Listen {
        /// The address.
        address: SocketAddr,
        /// The option that it comes from.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },

    // Of the machine.
    /// The configuration asks for io_uring, and the kernel does not let us; the text says why.
    Uring(String),
    /// The system gives us no more threads or descriptors.
    System {
        /// What could not be done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
        move |source| StartError::System { what, source }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Pattern(text)
            | StartError::Setting(text)
            | StartError::StaticDir(text)
            | StartError::Uring(text) => f.write_str(text),
            StartError::Config(error) => error.fmt(f),
            StartError::Listen { address, option, source } => {
                let what = "choose another address with";
                write!(f, "cannot listen on {address}: {source}; {what} --{option}")
            }
            StartError::System { what, source } => write!(f, "cannot {what}: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Config(error) => Some(error),
            StartError::Listen { source, .. } | StartError::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
