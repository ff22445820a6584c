//! Lines on their way to standard error, which may be closed, full or slow (catalogue, N06).
//!
//! Whoever logs hands the line to a thread of its own and never waits: a shard that waited for the
//! reader of its log would keep a million clients waiting, too. Lines that the thread cannot take
//! are counted, and it says how many were lost as soon as it can.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: at some 200 bytes each less than 1 MiB.
const LINES_WAITING_MAX: usize = 4_096;

/// How long the end of the process waits for the last lines.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

enum Line {
    Text(Vec<u8>),
    /// All before it is written: say so.
    Flush(SyncSender<()>),
}

/// Where lines are put. Copies put them into the same place.
#[derive(Clone)]
pub struct Lines {
    sender: SyncSender<Line>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Lines> {
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let unsaid = lost.clone();
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || write(&lines, &unsaid, out))?;
        Ok(Lines { sender, lost })
    }

    /// Waits until what was put is written, but not for long.
    pub fn flush(&self) {
        let (written, is_written) = sync_channel(1);
        // A full channel means a reader that does not read: there is nothing to wait for.
        if self.sender.try_send(Line::Flush(written)).is_ok() {
            let _ = is_written.recv_timeout(FLUSH_PATIENCE);
        }
    }
}

impl Write for &Lines {
    /// Takes the whole line, or loses it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Line::Text(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> &'a Lines {
        self
    }
}

/// Writes until nobody can log any more. What cannot be written is nobody's loss: the other end is
/// closed.
fn write(lines: &Receiver<Line>, lost: &AtomicU64, mut out: impl Write) {
    for line in lines {
        match line {
            Line::Text(text) => {
                let _ = out.write_all(&text);
            }
            Line::Flush(written) => {
                let _ = written.send(());
            }
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(out, "{count} lines of this log were lost: it was read too slowly");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Holds what is written; while the gate is locked, writing takes for ever.
    struct Pipe {
        gate: Arc<Mutex<()>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock().unwrap();
            self.text.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Catalogue: N06.
    #[test]
    fn nobody_waits_for_a_reader_and_losses_are_told() {
        let (gate, text) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
        let shut = gate.lock().unwrap();
        let lines = Lines::start(Pipe { gate: gate.clone(), text: text.clone() }).unwrap();
        for number in 0..LINES_WAITING_MAX + 10 {
            (&lines).write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let lost = lines.lost.load(Ordering::Relaxed);
        // One may be in the hands of the thread.
        assert!(lost > 0);
        drop(shut);
        let told = format!("{lost} lines of this log were lost: it was read too slowly\n");
        let written = || String::from_utf8(text.lock().unwrap().clone()).unwrap();
        while !written().contains("too slowly\n") {
            std::thread::yield_now();
        }
        let text = written();
        assert!(text.starts_with("line 0\n"), "{text:.40}");
        assert!(text.contains(&told), "{told}");
    }
}
