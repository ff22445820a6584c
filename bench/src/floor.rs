//! The floor: a bare loop that sends the same bytes to as many sockets, for the ratio.
//!
//! A child process on the server's processors accepts the connections and, told to start, sends one
//! ready frame to every socket at the same rate with the same io_uring sends. There is no protocol,
//! no subscription and no queue in it. The same clients receive and check, so that the receiving
//! half, which loopback charges to the sender, is the same too.

use crate::clock::{nanos, Clock};
use crate::control::Control;
use crate::plan::{Plan, Rate, Target, Workload};
use crate::run::{self, Observer, Outcome};
use crate::stamp::{blank_body, Stamp, STAMP_BYTES};
use crate::wire::Protocol;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use stompede::reactor::listener::{listen, local_address};
use stompede::reactor::uring::UringReactor;
use stompede::reactor::{Event, Parts, Reactor, SendRequest};

/// What the sender is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Sender {
    /// Sockets to wait for and to send to
    #[arg(long)]
    pub sockets: u32,
    /// Bytes of a frame
    #[arg(long)]
    pub frame_bytes: usize,
    /// Bytes of the body in it
    #[arg(long)]
    pub body_bytes: usize,
    /// Rounds per second
    #[arg(long)]
    pub rate: f64,
    /// Rounds
    #[arg(long)]
    pub rounds: u32,
}

/// Runs the floor under the load of `plan`, whose frames were `frame_bytes` long.
///
/// # Errors
/// Why it could not be run.
pub fn measure(plan: &Plan, frame_bytes: usize) -> Result<Outcome, String> {
    let Rate::PerSecond(rate) = plan.rate else {
        return Err("the floor needs a rate: it has no queue to coalesce in".into());
    };
    let seconds = (plan.warmup + plan.duration).as_secs_f64();
    let sender = Sender {
        sockets: plan.subscribers,
        frame_bytes,
        body_bytes: plan.body_bytes,
        rate,
        rounds: (rate * seconds) as u32,
    };
    let explain = |error: io::Error| format!("cannot start the bare loop: {error}");
    let mut child = spawn(&sender, plan.pid).map_err(explain)?;
    let result = drive(&mut child, plan, &sender);
    // It ends by itself when its input does; killed, if something else went wrong.
    drop(child.stdin.take());
    if result.is_err() {
        let _ = child.kill();
    }
    child.wait().map_err(explain)?;
    result
}

/// Tells the bare loop when to begin.
struct Starter(ChildStdin);

impl Observer for Starter {
    fn stage(&mut self, stage: &str, _plan: &Plan) {
        if stage == "publish" {
            // If it is gone, nothing arrives, and that is seen.
            let _ = self.0.write_all(b"go\n");
        }
    }
}

fn drive(child: &mut Child, plan: &Plan, sender: &Sender) -> Result<Outcome, String> {
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the bare loop has no pipes".into());
    };
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    read.map_err(|error| format!("the bare loop does not answer: {error}"))?;
    let mut floor = plan.clone();
    floor.target = Target::parse(&format!("tcp://{}", line.trim()))?;
    floor.protocol = Protocol::WebSocket;
    floor.workload = Workload::Fanout;
    (floor.publishers, floor.strangers) = (0, 1);
    (floor.storms, floor.hold, floor.heart_beat_ms) = (0, Duration::ZERO, 0);
    floor.stalled_share = 0.0;
    floor.pid = Some(child.id());
    let mut outcome = run::run(floor, &mut Starter(stdin))?;
    outcome.tally.expected = u64::from(sender.rounds) * u64::from(sender.sockets);
    match outcome.lost() {
        0 => Ok(outcome),
        lost => Err(format!("the bare loop lost {lost} sends: the rate is too high for it")),
    }
}

/// On the processors of the server, if its process is known and `taskset` is there.
fn spawn(sender: &Sender, server: Option<u32>) -> io::Result<Child> {
    let program = std::env::current_exe()?;
    let status = server
        .and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/status")).ok());
    let processors = status.as_deref().and_then(|status| {
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:"))?;
        line.split_whitespace().nth(1)
    });
    let arguments = [
        "floor-sender".to_owned(),
        format!("--sockets={}", sender.sockets),
        format!("--frame-bytes={}", sender.frame_bytes),
        format!("--body-bytes={}", sender.body_bytes),
        format!("--rate={}", sender.rate),
        format!("--rounds={}", sender.rounds),
    ];
    let start = |mut command: Command| {
        command.args(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    };
    if let Some(processors) = processors {
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(processors).arg(&program);
        match start(pinned) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    start(Command::new(&program))
}

/// The child process: accepts, waits for a line on standard input, sends, waits for its end.
///
/// # Errors
/// What the kernel says.
pub fn send(sender: &Sender) -> io::Result<()> {
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("{}", local_address(&listener)?);
    let control = Arc::new(Control::new(1, 0)?);
    let told = control.clone();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            told.storm();
        }
        told.enter(crate::control::Stage::Stop);
    });
    let mut runtime = stompede::reactor::uring::runtime()?;
    runtime.block_on(async move {
        let wake = control.doorbell(0).fd();
        let reactor = UringReactor::new(vec![listener], wake, sender.sockets + 64)?;
        rounds(reactor, sender, &control).await
    })
}

async fn rounds(mut reactor: UringReactor, sender: &Sender, control: &Control) -> io::Result<()> {
    use stompede::reactor::Connector;
    let clock: Clock = control.clock;
    let (mut events, mut slots, mut shortfalls) = (Vec::new(), Vec::new(), Vec::new());
    let (mut frame, body_at) = frame(sender);
    let (mut round, mut start) = (0u32, None);
    loop {
        if control.stage() == crate::control::Stage::Stop {
            return Ok(());
        }
        let now = clock.now();
        if start.is_none() && control.storms() > 0 {
            start = Some(now + nanos(Duration::from_millis(50)));
        }
        let due = start.filter(|_| round < sender.rounds);
        let due = due.map(|start| start + (f64::from(round) * 1e9 / sender.rate) as u64);
        let is_due = due.is_some_and(|due| due <= now);
        if let (Some(due), true) = (due, is_due) {
            let body = &mut frame[body_at..body_at + sender.body_bytes];
            Stamp { planned: due, sequence: round, stream: 0 }.write(body);
            let parts = Parts::One(&frame);
            let requests = slots.iter().map(|&slot| SendRequest { slot, parts });
            reactor.send_batch(requests, &mut shortfalls);
            shortfalls.clear();
            round += 1;
            continue;
        }
        control.doorbell(0).prepare_sleep();
        if let Some(due) = due {
            reactor.wake_in(Duration::from_nanos(due - now));
        }
        let may_sleep = start.is_some() || control.storms() == 0;
        reactor.wait(&mut events, may_sleep).await?;
        control.doorbell(0).wake_up();
        for event in events.drain(..) {
            if let Event::Accepted { slot, .. } = event {
                slots.push(slot);
            }
        }
    }
}

/// A MESSAGE of the wanted length, and where its body lies.
fn frame(sender: &Sender) -> (Vec<u8>, usize) {
    let body = blank_body(sender.body_bytes.max(STAMP_BYTES));
    let head = |filler: &str| {
        let length = body.len();
        format!("MESSAGE\nsubscription:0\nx:{filler}\ncontent-length:{length}\n\n")
    };
    let bare = head("").len() + body.len() + 1;
    let head = head(&"x".repeat(sender.frame_bytes.saturating_sub(bare)));
    let frame = [head.as_bytes(), &body, b"\0"].concat();
    (frame, head.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_has_the_length_of_the_servers() {
        let sender = Sender { sockets: 1, frame_bytes: 233, body_bytes: 100, rate: 1.0, rounds: 1 };
        let (frame, body_at) = frame(&sender);
        assert_eq!(frame.len(), 233);
        assert_eq!(&frame[body_at..body_at + 100], blank_body(100));
    }
}
