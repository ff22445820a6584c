//! Attacks on a running server, and the oracle that says whether it held.
//!
//! Each [`Attack`] has the id of its row in the catalogue of hostile cases (table of
//! `scripts/conformance/catalogue.md`), says in one line what it sends and in another what a sound
//! server answers. The attack itself checks the answer; [`oracle`] checks the rest around it: the
//! server lives, a [`canary`] gets all its messages in time and nothing else, what was opened is
//! closed again, memory is bounded, and the server counted what happened. One file per family.
//!
//! For servers of one's own, or with their owner's leave: an attack is an attack.

mod admin;
pub mod canary;
mod compression;
pub mod ground;
mod http;
mod login;
pub mod oracle;
pub mod peer;
mod slow;
mod sockjs;
mod stomp;
mod tcp;
mod verdict;
mod websocket;

use clap::Args;
use ground::Ground;
use peer::Wrong;
use std::time::Duration;

/// One case of the catalogue that can be played against a running server.
pub struct Attack {
    /// Row of the catalogue.
    pub id: &'static str,
    /// What it sends, in one line.
    pub sends: &'static str,
    /// What a sound server does.
    pub answer: &'static str,
    /// Series of the server's metrics that must rise by exactly what `run` returns; empty if
    /// nothing is counted.
    pub counter: &'static str,
    /// Bytes by which the server's memory may be larger behind it.
    pub growth_bytes_max: u64,
    /// Plays it; gives the number of counted events.
    pub run: fn(&Ground) -> Result<u64, Wrong>,
}

/// What most attacks have in common. An allocator takes memory in steps of some 4 MiB, on each
/// shard: less growth than a few of these says nothing.
const USUAL: Attack = Attack {
    id: "",
    sends: "",
    answer: "",
    counter: "",
    growth_bytes_max: 16 << 20,
    run: |_| Ok(0),
};

/// Series of connections that ended for a reason.
macro_rules! closed {
    ($reason:literal) => {
        concat!("stompede_connections_closed_total{reason=\"", $reason, "\"}")
    };
}
use closed;

/// Series of requests that the SockJS endpoint refused for a kind of error.
macro_rules! sockjs_refused {
    ($kind:literal) => {
        concat!("stompede_protocol_errors_total{protocol=\"sockjs\",kind=\"", $kind, "\"}")
    };
}
use sockjs_refused;

/// Every attack, in the order of the catalogue.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    let families = [
        tcp::ATTACKS,
        http::ATTACKS,
        websocket::ATTACKS,
        compression::ATTACKS,
        sockjs::ATTACKS,
        stomp::ATTACKS,
        login::ATTACKS,
        slow::ATTACKS,
        admin::ATTACKS,
    ];
    families.into_iter().flatten()
}

/// Plays attacks against a server and says whether it held
#[derive(Args, Clone, Debug)]
pub struct Order {
    /// Rows of the catalogue such as E05, families such as E, or all
    #[arg(default_value = "all")]
    pub ids: Vec<String>,
    /// Let the server fall by what is left out, too: it is meant to have everything
    #[arg(long)]
    pub strict: bool,
    /// Print ids and titles, and play nothing
    #[arg(long)]
    pub list: bool,
    /// ws://host:port/path of STOMP over WebSocket
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
    /// tcp://host:port of STOMP over TCP
    #[arg(long)]
    pub stomp_url: Option<String>,
    /// Prefix of a SockJS endpoint that speaks STOMP, or off
    #[arg(long, default_value = "/sockjs")]
    pub sockjs: String,
    /// NAME:PASSCODE to log in with
    #[arg(long, value_parser = crate::options::login)]
    pub login: Option<(String, String)>,
    /// http://host:port/path of the server's metrics
    #[arg(long)]
    pub metrics: Option<String>,
    /// Process of the server, on this machine: its memory and descriptors are watched
    #[arg(long)]
    pub pid: Option<u32>,
    /// How long an answer, or the way back to the base line, may take
    #[arg(long, default_value = "20s", value_parser = crate::options::duration)]
    pub patience: Duration,
    /// Bound of the canary's 99th percentile, instead of 20 times that before the attacks
    #[arg(long, value_parser = crate::options::duration)]
    pub canary_max: Option<Duration>,
}

impl Order {
    /// The attacks that were asked for.
    ///
    /// # Errors
    /// An id that no attack has.
    pub fn chosen(&self) -> Result<Vec<&'static Attack>, String> {
        for id in &self.ids {
            if id != "all" && !all().any(|attack| is_chosen(id, attack)) {
                return Err(format!("seen attack `{id}`; --list shows those there are"));
            }
        }
        Ok(all().filter(|attack| self.ids.iter().any(|id| is_chosen(id, attack))).collect())
    }
}

fn is_chosen(id: &str, attack: &Attack) -> bool {
    id == "all" || attack.id.starts_with(&id.to_ascii_uppercase())
}

/// Ids, what is sent and what is the answer, one attack a line.
pub fn list() -> String {
    all().map(|attack| format!("{}  {}: {}\n", attack.id, attack.sends, attack.answer)).collect()
}

/// Plays what was asked for and prints the table as it grows. True: the server held.
///
/// # Errors
/// A mistake of the operator, or a server that nobody can log in to.
pub fn play(order: &Order) -> Result<bool, String> {
    if order.list {
        print!("{}", list());
        return Ok(true);
    }
    let attacks = order.chosen()?;
    let mut oracle = oracle::Oracle::new(order)?;
    println!("{}", verdict::HEAD);
    for attack in attacks {
        println!("{}", oracle.judge(attack).line());
    }
    let rest = oracle.rest();
    println!("{}", rest.line());
    println!("{}", oracle.summary());
    Ok(oracle.fell_count() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_in_order_and_everything_is_said() {
        let ids: Vec<_> = all().map(|attack| attack.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        for attack in all() {
            assert!(!attack.sends.is_empty() && !attack.answer.is_empty(), "{}", attack.id);
        }
    }

    #[test]
    fn unknown_ids_are_refused_and_families_chosen() {
        let order = |ids: &[&str]| Order {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            strict: false,
            list: false,
            url: String::new(),
            stomp_url: None,
            sockjs: String::new(),
            login: None,
            metrics: None,
            pid: None,
            patience: Duration::ZERO,
            canary_max: None,
        };
        assert!(order(&["E05", "Z99"]).chosen().is_err());
        assert_eq!(order(&["e05"]).chosen().map(|found| found.len()), Ok(1));
        assert!(order(&["E"]).chosen().is_ok_and(|found| found.len() > 10));
    }
}
