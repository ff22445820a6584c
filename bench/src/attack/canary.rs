//! The canary: a client that does nothing wrong and must not notice the attack.
//!
//! It subscribes to a destination of its own and sends to it by the clock, 200 times a second,
//! whether or not the last one came back: a stall shows in every message that was due meanwhile.
//! Every byte it hears must be the next of its own messages; anything else is somebody else's.

use super::ground::Ground;
use super::peer::{frame, wrong, Heard, Peer, Told, Wrong};
use crate::clock::{nanos, Clock};
use crate::latency::Latencies;
use crate::wire::stomp::send_frame;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two of its messages.
const PERIOD: Duration = Duration::from_millis(5);

/// What the threads of the canary share.
struct Perch {
    destination: String,
    clock: Clock,
    start_ns: u64,
    sent: AtomicU64,
    received: AtomicU64,
    is_over: AtomicBool,
    heard: Mutex<Song>,
}

#[derive(Default)]
struct Song {
    latencies: Latencies,
    fault: Option<String>,
}

/// The running canary.
pub struct Canary {
    perch: Arc<Perch>,
    threads: Vec<JoinHandle<()>>,
}

/// What it lived through since it was last asked.
pub struct Span {
    /// 99th percentile of its latencies, in microseconds.
    pub p99_us: f64,
    /// Messages that came.
    pub count: u64,
    /// What it heard that it must not hear, or why it hears nothing any more.
    pub fault: Option<String>,
}

impl Perch {
    fn song(&self) -> MutexGuard<'_, Song> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due_ns(&self, number: u64) -> u64 {
        self.start_ns + number * nanos(PERIOD)
    }

    fn body(&self, secret: &str, number: u64) -> String {
        format!("{secret}-{number}")
    }
}

impl Canary {
    /// Subscribes and begins to send.
    ///
    /// # Errors
    /// The server does not let it in.
    pub fn start(ground: &Arc<Ground>) -> Result<Canary, String> {
        let clock = Clock::start();
        let perch = Arc::new(Perch {
            destination: format!("/topic/canary.{}", ground.name()),
            clock,
            start_ns: clock.now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            heard: Mutex::default(),
        });
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (listener, its_ground) = (perch.clone(), ground.clone());
        let listen = std::thread::spawn(move || {
            let opened = open(&its_ground, &listener.destination);
            let streams = opened.and_then(|peer| Ok((peer.stream.try_clone()?, peer)));
            let mut peer = match streams {
                Ok((stream, peer)) => {
                    let _ = ready.send(Ok(stream));
                    peer
                }
                Err(why) => {
                    let _ = ready.send(Err(why));
                    return;
                }
            };
            if let Err(Wrong::Answer(fault)) = listen(&listener, &its_ground, &mut peer) {
                if !listener.is_over.load(Ordering::Relaxed) {
                    listener.song().fault.get_or_insert(fault);
                }
            }
        });
        let stream = match is_ready.recv() {
            Ok(Ok(stream)) => stream,
            Ok(Err(why)) => return Err(format!("the canary cannot log in: {why:?}")),
            Err(_) => return Err("the canary died".into()),
        };
        let (singer, secret) = (perch.clone(), ground.secret.clone());
        let sing = std::thread::spawn(move || sing(&singer, &secret, stream));
        Ok(Canary { perch, threads: vec![listen, sing] })
    }

    /// Waits until all that was sent so far came, and gives what was heard since the last time.
    pub fn take(&self, patience: Duration) -> Span {
        let (wanted, until) = (self.perch.sent.load(Ordering::Acquire), Instant::now() + patience);
        while self.perch.received.load(Ordering::Acquire) < wanted {
            if self.perch.song().fault.is_some() {
                break;
            }
            if Instant::now() > until {
                let missing = wanted - self.perch.received.load(Ordering::Acquire);
                let fault = format!("{missing} messages did not come");
                self.perch.song().fault.get_or_insert(fault);
            }
            std::thread::sleep(PERIOD);
        }
        let mut song = self.perch.song();
        let heard = std::mem::take(&mut song.latencies);
        let (p99_us, count) = (heard.percentile_us(99.0), heard.count());
        Span { p99_us, count, fault: song.fault.clone() }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.perch.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn open<'a>(ground: &'a Ground, destination: &str) -> Told<Peer<'a>> {
    let mut peer = ground.session()?;
    peer.knows_secret = true;
    let head = format!("SUBSCRIBE\nid:canary\ndestination:{destination}\nreceipt:s\n\n\0");
    peer.send_stomp(head);
    peer.expect_stomp("RECEIPT", "receipt-id:s\n")?;
    Ok(peer)
}

/// Sends by the clock until it is over, and then closes.
fn sing(perch: &Perch, secret: &str, mut stream: TcpStream) {
    let mut frame_bytes = Vec::new();
    for number in 0.. {
        let wait = perch.due_ns(number).saturating_sub(perch.clock.now());
        std::thread::sleep(Duration::from_nanos(wait));
        if perch.is_over.load(Ordering::Relaxed) {
            break;
        }
        frame_bytes.clear();
        send_frame(&mut frame_bytes, &perch.destination, perch.body(secret, number).as_bytes());
        if let Err(error) = stream.write_all(&frame(0x81, &frame_bytes)) {
            perch.song().fault.get_or_insert(format!("cannot send: {error}"));
            return;
        }
        perch.sent.store(number + 1, Ordering::Release);
    }
    let _ = stream.write_all(&frame(0x88, &1000_u16.to_be_bytes()));
}

/// Hears its own messages in their order, and nothing else.
fn listen(perch: &Perch, ground: &Ground, peer: &mut Peer<'_>) -> Told {
    for number in 0.. {
        let payload = match peer.hear()? {
            Heard::Frame(0x81, payload) => payload,
            Heard::Frame(0x88, _) if perch.is_over.load(Ordering::Relaxed) => return Ok(()),
            Heard::Frame(first, payload) => {
                return wrong(format!("frame {first:02x} `{}`", payload.escape_ascii()));
            }
            Heard::End => return wrong("its connection ended"),
        };
        let text = String::from_utf8_lossy(&payload);
        let body = format!("\n\n{}\0", perch.body(&ground.secret, number));
        let its_own = format!("\ndestination:{}\n", perch.destination);
        if !(text.starts_with("MESSAGE\n") && text.contains(&its_own) && text.ends_with(&body)) {
            return wrong(format!("not message {number}: `{}`", text.escape_debug()));
        }
        let latency = perch.clock.now().saturating_sub(perch.due_ns(number));
        perch.song().latencies.record(latency);
        perch.received.store(number + 1, Ordering::Release);
    }
    Ok(())
}
