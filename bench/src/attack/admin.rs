//! Attacks on the listener for metrics and health (rows O), where `--metrics` names it.

use super::ground::Ground;
use super::peer::{wrong, Peer, Told, Wrong};
use super::{Attack, USUAL};
use std::collections::BTreeSet;
use std::time::Instant;

pub(super) const ATTACKS: &[Attack] = &[Attack {
    id: "O07",
    sends: "40 silent scrapers, then 200 scrapes in a row",
    answer: "503 or silence for the first, metrics with the same series for the others",
    run: scrapes,
    ..USUAL
}];

fn scrapes(ground: &Ground) -> Told<u64> {
    let Some((address, path)) = &ground.metrics else {
        return Err(Wrong::NotOffered("no --metrics"));
    };
    let silent = (0..40).map(|_| Peer::connect(ground, *address)).collect::<Told<Vec<_>>>()?;
    let until = Instant::now() + ground.patience;
    let mut known = BTreeSet::new();
    let mut count = 0;
    while count < 200 {
        if Instant::now() > until {
            return wrong(format!("{count} of 200 scrapes are answered"));
        }
        let mut peer = Peer::connect(ground, *address)?;
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
        // A refusal may overtake the request, which makes a reset of it.
        let Ok((status, head)) = peer.head() else { continue };
        let body = peer.body(&head)?;
        match status {
            200 => count += 1,
            503 => continue,
            status => return wrong(format!("status {status}")),
        }
        let names = body.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        let names: BTreeSet<String> = names.collect();
        if count > 1 && names != known {
            return wrong("the series change from scrape to scrape");
        }
        known = names;
    }
    drop(silent);
    Ok(0)
}
