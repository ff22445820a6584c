//! Attacks on the log-in (rows J).

use super::ground::Ground;
use super::peer::{wrong, Told, Wrong};
use super::{closed, Attack, USUAL};
use crate::wire::stomp::connect_frame;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        id: "J01",
        sends: "50 WebSockets that never log in",
        answer: "each is ended at the deadline with 1008",
        counter: closed!("handshake_timeout"),
        run: |ground| {
            let mut peers = (0..50).map(|_| ground.websocket()).collect::<Told<Vec<_>>>()?;
            for peer in &mut peers {
                peer.expect_error("Login timeout", 1008)?;
            }
            Ok(peers.len() as u64)
        },
        ..USUAL
    },
    Attack {
        id: "J02",
        sends: "100 wrong passcodes, of known and unknown users",
        answer: "the same ERROR for both, and 1008 or the same close code",
        counter: closed!("login_failed"),
        run: brute_force,
        ..USUAL
    },
    Attack {
        id: "J08",
        sends: "user names that are patterns, placeholders or paths",
        answer: "refused as any wrong name",
        counter: closed!("login_failed"),
        run: |ground| {
            let names = [".*", "${x}", "{username}", "#", "*", "../", "a\\nuser-name:admin"];
            for name in names {
                refused(ground, name, "x")?;
            }
            Ok(names.len() as u64)
        },
        ..USUAL
    },
];

/// Tries a log-in that must fail; gives the ERROR.
fn refused(ground: &Ground, name: &str, passcode: &str) -> Told<String> {
    if ground.login.is_none() {
        return Err(Wrong::NotOffered("no --login, so perhaps everybody may come in"));
    }
    let mut peer = ground.websocket()?;
    let login = (name.to_owned(), passcode.to_owned());
    peer.send_stomp(connect_frame("1.2", &ground.target.host, Some(&login), "0,0"));
    let error = peer.expect_stomp("ERROR", "message:")?;
    peer.finish();
    peer.expect_end()?;
    Ok(error)
}

fn brute_force(ground: &Ground) -> Told<u64> {
    let known = ground.login.as_ref().map_or("", |(name, _)| name);
    let mut answers = Vec::new();
    for attempt in 0..50 {
        answers.push(refused(ground, known, &format!("guess{attempt}"))?);
        answers.push(refused(ground, &format!("nobody{attempt}"), "guess")?);
    }
    answers.dedup();
    match answers.as_slice() {
        [_] => Ok(100),
        _ => wrong("the answer tells known users from unknown ones"),
    }
}
