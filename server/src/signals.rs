//! How a server ends by signals, in the binary and in programs that embed it.

use crate::{log, Handle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;

impl Handle {
    /// Waits for SIGTERM, SIGINT (Ctrl-C) or SIGHUP (a terminal that closes), then drains the
    /// server as [`Handle::drain`] does and waits as [`Handle::wait`] does: the usual end of a
    /// `main`. Gives the number of shards that were still busy at the deadline. A second signal
    /// ends the process at once, with exit code 1.
    ///
    /// # Errors
    /// The signals cannot be handled; the server runs on.
    pub fn drain_on_signal(self) -> io::Result<usize> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        signals.forever().next();
        tracing::info!("draining; a second signal ends at once");
        self.drain();
        std::thread::spawn(move || {
            signals.forever().next();
            log::flush();
            std::process::exit(1);
        });
        let busy_count = self.wait();
        log::flush();
        Ok(busy_count)
    }
}
