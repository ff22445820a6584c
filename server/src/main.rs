//! Command line of the server: parse, start, wait for signals, drain.

use std::process::ExitCode;
use stompede::config::{self, Invocation};
use stompede::{auth, log, probe, services, Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for a mistake of the operator.
const USAGE: u8 = 2;

fn main() -> ExitCode {
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
        Invocation::Probe(config) => {
            println!("{}", probe::report(&config));
            ExitCode::SUCCESS
        }
        Invocation::ConfigCheck => {
            println!("configuration is good");
            ExitCode::SUCCESS
        }
        Invocation::ConfigShow(config) => {
            print!("{}", config::options::show_toml(&config));
            ExitCode::SUCCESS
        }
        Invocation::Passwd { name } => passwd(&name),
        Invocation::PrintHelp(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Invocation::Version => {
            println!("stompede {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

fn passwd(name: &str) -> ExitCode {
    let mut password = String::new();
    let read = std::io::stdin().read_line(&mut password).map_err(|error| error.to_string());
    match read.and_then(|_| auth::hash_line(name, password.trim_end_matches(['\r', '\n']))) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stompede: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn serve(config: config::Config) -> ExitCode {
    if let Err(error) = log::init(&config) {
        eprintln!("stompede: {error}");
        return ExitCode::from(USAGE);
    }
    let is_test = config.test_services;
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
    println!("stompede on {io}: http://{0}/ and ws://{0}/ws", handle.http_address);
    let signals = signal_hook::iterator::Signals::new([libc::SIGTERM, libc::SIGINT]);
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("stompede: cannot handle signals: {error}");
            return ExitCode::from(USAGE);
        }
    };
    signals.forever().next();
    eprintln!("stompede: draining; a second signal ends at once");
    handle.drain();
    std::thread::spawn(move || {
        signals.forever().next();
        std::process::exit(1);
    });
    handle.wait();
    ExitCode::SUCCESS
}
