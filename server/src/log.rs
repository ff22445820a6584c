//! The log: where lines go, how often the same kind may come, and how client text is made safe.
//!
//! Lines go to standard error, as text or as JSON, and standard output stays free. Whatever a
//! client can cause at will goes through a [`Suppressor`], and whatever text a client sent goes
//! through [`escape`]: a log is read in terminals, and a terminal obeys what it is shown.

mod lines;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;

use crate::config::{Config, LogFormat};
use lines::Lines;

/// Where the lines of this process go.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts logging as configured. To be called once, before the first shard starts.
///
/// # Errors
/// The level is unknown, logging was started before, or no thread can be started for it.
pub fn init(config: &Config) -> Result<(), String> {
    let level: LevelFilter = config
        .log_level
        .parse()
        .map_err(|_| format!("seen log-level {:?}, which is no level", config.log_level))?;
    let lines = Lines::start(std::io::stderr())
        .map_err(|error| format!("cannot start a thread for the log: {error}"))?;
    let lines = LINES.get_or_init(|| lines).clone();
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(lines);
    match config.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    }
    .map_err(|error| format!("logging cannot start: {error}"))
}

/// Waits a moment for the last lines, before the process ends.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// Lets through so many lines of each kind per second and counts the others. One per shard.
pub struct Suppressor {
    per_second: u32,
    kinds: HashMap<&'static str, Window>,
    total: u64,
}

struct Window {
    start: Instant,
    admitted: u32,
    suppressed: u64,
}

impl Suppressor {
    /// `per_second`: lines of one kind that are let through in any second's window.
    pub fn new(per_second: u32) -> Suppressor {
        Suppressor { per_second, kinds: HashMap::new(), total: 0 }
    }

    /// Asks for a line: `Some(n)` lets it through and says that `n` of its kind were held back
    /// since the last one, `None` holds it back. Kinds are constants, so their number is bounded.
    pub fn admit(&mut self, kind: &'static str, now: Instant) -> Option<u64> {
        let fresh = Window { start: now, admitted: 0, suppressed: 0 };
        let window = self.kinds.entry(kind).or_insert(fresh);
        if now.saturating_duration_since(window.start) >= Duration::from_secs(1) {
            window.start = now;
            window.admitted = 0;
        }
        if window.admitted < self.per_second {
            window.admitted += 1;
            return Some(std::mem::take(&mut window.suppressed));
        }
        window.suppressed += 1;
        self.total += 1;
        None
    }

    /// Lines held back since the start, of all kinds.
    pub fn suppressed_total(&self) -> u64 {
        self.total
    }

    /// Lines of each kind held back and not yet told by [`Suppressor::admit`]; resets them.
    pub fn take_untold(&mut self) -> Vec<(&'static str, u64)> {
        self.kinds
            .iter_mut()
            .filter(|(_, window)| window.suppressed > 0)
            .map(|(kind, window)| (*kind, std::mem::take(&mut window.suppressed)))
            .collect()
    }
}

/// Client text for a log line: control characters (escape sequences and line ends begin with
/// one), the characters that reorder or hide text, and the backslash are written as escapes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let _ = match c {
            '\\' => safe.write_str("\\\\"),
            '\n' => safe.write_str("\\n"),
            '\r' => safe.write_str("\\r"),
            '\t' => safe.write_str("\\t"),
            c if c.is_control() || is_invisible(c) => write!(safe, "\\u{{{:x}}}", u32::from(c)),
            c => safe.write_char(c),
        };
    }
    safe
}

/// Bidirectional controls (Unicode UAX #9), line separators and zero-width characters.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Catalogue: K11.
    #[test]
    fn repeats_are_held_back_and_counted() {
        let mut suppressor = Suppressor::new(2);
        let start = Instant::now();
        let admitted: Vec<_> = (0..5).map(|_| suppressor.admit("a", start)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None, None]);
        assert_eq!(suppressor.admit("b", start), Some(0));
        let later = start + Duration::from_secs(1);
        assert_eq!(suppressor.admit("a", later), Some(3));
        assert_eq!(suppressor.admit("a", later), Some(0));
        assert_eq!(suppressor.admit("a", later), None);
        assert_eq!(suppressor.suppressed_total(), 4);
        assert_eq!(suppressor.take_untold(), [("a", 1)]);
        assert!(suppressor.take_untold().is_empty());
    }

    /// Catalogue: K14.
    #[test]
    fn terminals_are_not_commanded() {
        assert_eq!(escape("/topic/größe 1"), "/topic/größe 1");
        assert_eq!(escape("a\r\nfake: line"), "a\\r\\nfake: line");
        assert_eq!(escape("\u{1b}[2J\u{9b}1m"), "\\u{1b}[2J\\u{9b}1m");
        assert_eq!(escape("\u{202e}txt\u{2066}"), "\\u{202e}txt\\u{2066}");
        assert_eq!(escape("\\n"), "\\\\n");
    }

    proptest! {
        /// Catalogue: K14.
        #[test]
        fn nothing_escaped_is_left(text: String) {
            let safe = escape(&text);
            prop_assert!(!safe.chars().any(|c| c.is_control() || is_invisible(c)));
        }
    }
}
