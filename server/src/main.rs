//! Command line of the server: parse, start, wait for signals, drain.

use std::io::{IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};
use stompede::config::{self, Invocation};
use stompede::{auth, log, probe, services, Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for a mistake of the operator.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    probe::refuse_huge_pages();
    match config::parse(std::env::args_os(), environment()) {
        Ok(invocation) => run(invocation),
        Err(error) => {
            eprintln!("stompede: {error}");
            ExitCode::from(USAGE)
        }
    }
}

/// The environment as text. What is not UTF-8 gets replacement characters: a variable of ours is
/// then refused by its parser, and others are none of our business.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

fn run(invocation: Invocation) -> ExitCode {
    match invocation {
        Invocation::Serve(config) => serve(config),
        Invocation::Probe(config) => say(&format!("{}\n", probe::report(&config))),
        Invocation::ConfigCheck => say("configuration is good\n"),
        Invocation::ConfigShow(config) => say(&config::options::show_toml(&config)),
        Invocation::Passwd { name } => passwd(&name),
        Invocation::PrintHelp(text) => say(&text),
        Invocation::Version => say(concat!("stompede ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// Writes to standard output. Whoever reads no further (`| head`) has what they wanted.
fn say(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn passwd(name: &str) -> ExitCode {
    let is_asked = std::io::stdin().is_terminal();
    let is_hidden = is_asked && set_echo(false);
    if is_asked {
        let note = if is_hidden { "" } else { "; it is shown as you type" };
        eprintln!("password for {name}, one line{note}:");
    }
    let mut password = String::new();
    let read = std::io::stdin().read_line(&mut password).map_err(|error| error.to_string());
    if is_hidden {
        set_echo(true);
    }
    match read.and_then(|_| auth::hash_line(name, password.trim_end_matches(['\r', '\n']))) {
        Ok(line) => say(&format!("{line}\n")),
        Err(error) => {
            eprintln!("stompede: {error}");
            ExitCode::from(USAGE)
        }
    }
}

/// Lets the terminal show what is typed, or not; says whether it does as it is told. By `stty`,
/// which is wherever there is a terminal: no system call of ours is worth it.
fn set_echo(is_on: bool) -> bool {
    let mode = if is_on { "echo" } else { "-echo" };
    let status = Command::new("stty").arg(mode).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn serve(config: config::Config) -> ExitCode {
    if let Err(error) = log::init(&config) {
        eprintln!("stompede: {error}");
        return ExitCode::from(USAGE);
    }
    let is_test = config.test_services;
    let is_json = config.log_format == config::LogFormat::Json;
    let is_open = config.users.is_empty() && config.users_file.is_none();
    let sockjs = config.sockjs_paths().collect::<Vec<_>>().join(" ");
    let mut builder = Server::builder(config);
    if is_test {
        builder = services::register(builder);
    }
    let handle = match builder.start() {
        Ok(handle) => handle,
        Err(error) => {
            eprintln!("stompede: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let io = if handle.is_uring { "io_uring" } else { "epoll" };
    let mut text = format!("stompede on {io}: http://{0}/ and ws://{0}/ws", handle.http_address);
    if !sockjs.is_empty() {
        text += &format!(", SockJS at {sockjs}");
    }
    for (name, address) in [("STOMP", handle.stomp_address), ("metrics", handle.admin_address)] {
        text += &address.map(|address| format!(", {name} on {address}")).unwrap_or_default();
    }
    if is_json {
        tracing::info!("{text}");
    } else {
        say(&format!("{text}\n"));
    }
    let addresses = [Some(handle.http_address), handle.stomp_address];
    if is_open && addresses.iter().flatten().any(|address| !address.ip().is_loopback()) {
        tracing::warn!("anyone who can connect can publish: --user or --users-file closes access");
    }
    // Closing the terminal sends SIGHUP.
    let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    let signals = signal_hook::iterator::Signals::new(signals);
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("stompede: cannot handle signals: {error}");
            return ExitCode::from(USAGE);
        }
    };
    signals.forever().next();
    tracing::info!("draining; a second signal ends at once");
    handle.drain();
    std::thread::spawn(move || {
        signals.forever().next();
        log::flush();
        std::process::exit(1);
    });
    handle.wait();
    log::flush();
    ExitCode::SUCCESS
}
