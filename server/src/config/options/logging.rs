//! The log.
//!
//! Rows of the table in [`super`].

use super::{Opt, BASE};
use crate::config::{value, LogFormat};

pub(super) const ROWS: &[Opt] = &[
    row!(
        "log-format",
        "FORMAT",
        "text",
        "text or json",
        log_format,
        value::log_format,
        |format: LogFormat| format.name().to_owned()
    ),
    row!(
        "log-level",
        "LEVEL",
        "info",
        "off, error, warn, info, debug or trace",
        log_level,
        value::log_level,
        |level| level
    ),
    Opt {
        name: "secret-header",
        value: "NAME",
        default: "authorization,cookie,passcode",
        doc: "Header whose value is never logged, in addition to the default",
        repeatable: true,
        apply: |config, text| {
            let name = text.to_ascii_lowercase();
            if name.is_empty() || name.contains([':', '\r', '\n']) {
                return Err("allowed is the name of a header, without colon".to_owned());
            }
            if !config.secret_headers.contains(&name) {
                config.secret_headers.push(name);
            }
            Ok(())
        },
        show: |config| config.secret_headers.join("\n"),
        ..BASE
    },
];
