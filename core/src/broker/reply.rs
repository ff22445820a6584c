//! Request and reply: temporary queues that exist only as the `reply-to` of a SEND.
//!
//! `reply-to:/temp-queue/x` is rewritten to `/reply-queue/<shard>-<128 random bits>`; whoever
//! answers sends there, and the requester's shard (it is in the name) hands the answer to that one
//! connection, as MESSAGE with `subscription:/temp-queue/x` and no SUBSCRIBE (stomp.md §2.2). The
//! name cannot be guessed, lives as long as the connection, and is the same for the same label.

use super::Keyed;
use std::collections::HashMap;

/// What a client writes in `reply-to`, and the id of the subscription it gets.
pub const TEMP_PREFIX: &str = "/temp-queue/";

/// What the name that others see starts with.
pub const REPLY_PREFIX: &str = "/reply-queue/";

/// Why a temporary queue cannot be opened: the client's fault; the answer is ERROR and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// More labels than the limit.
    TooMany,
}

/// Who gets what is sent to a reply queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The connection's slot.
    pub slot: u32,
    /// The subscription id of the MESSAGE: `/temp-queue/x`.
    pub subscription: Box<str>,
}

/// The reply queues of one shard's connections.
#[derive(Debug)]
pub struct Replies {
    shard: u32,
    by_token: HashMap<u128, Requester, Keyed>,
    by_slot: HashMap<u32, Vec<u128>, Keyed>,
}

/// Whether a client may not choose this subscription id, nor UNSUBSCRIBE it.
pub fn is_reserved_id(id: &str) -> bool {
    id.starts_with(TEMP_PREFIX)
}

/// The shard that knows a reply queue; none if the name was never given out.
pub fn shard_of(destination: &str) -> Option<u32> {
    parse(destination).map(|(shard, _)| shard)
}

fn parse(destination: &str) -> Option<(u32, u128)> {
    let (shard, token) = destination.strip_prefix(REPLY_PREFIX)?.split_once('-')?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if token.len() != 32 || !token.bytes().chain(shard.bytes()).all(is_hex) {
        return None;
    }
    let token = u128::from_str_radix(token, 16).ok()?;
    Some((u32::from_str_radix(shard, 16).ok()?, token))
}

impl Replies {
    /// No reply queue yet.
    pub fn new(shard: u32, hash_key: u64) -> Replies {
        let keyed = Keyed(hash_key);
        let (by_token, by_slot) = (HashMap::with_hasher(keyed), HashMap::with_hasher(keyed));
        Replies { shard, by_token, by_slot }
    }

    /// What `reply_to` (`/temp-queue/x`) of the connection at `slot` is rewritten to; known labels
    /// keep their name. `random` are fresh unguessable bits. Limit: `count_max` per connection.
    pub fn open(
        &mut self,
        slot: u32,
        reply_to: &str,
        random: u128,
        count_max: usize,
    ) -> Result<String, ReplyError> {
        let tokens = self.by_slot.get(&slot).map_or(&[][..], Vec::as_slice);
        let is_known = |token: &&u128| {
            self.by_token.get(token).is_some_and(|known| *known.subscription == *reply_to)
        };
        let token = match tokens.iter().find(is_known) {
            Some(known) => *known,
            None if tokens.len() >= count_max => return Err(ReplyError::TooMany),
            None => {
                self.by_slot.entry(slot).or_default().push(random);
                let requester = Requester { slot, subscription: reply_to.into() };
                self.by_token.insert(random, requester);
                random
            }
        };
        Ok(format!("{REPLY_PREFIX}{:x}-{token:032x}", self.shard))
    }

    /// Who gets a SEND to `destination`; none if nobody (any more), which is dropped and counted.
    pub fn find(&self, destination: &str) -> Option<&Requester> {
        let (shard, token) = parse(destination)?;
        self.by_token.get(&token).filter(|_| shard == self.shard)
    }

    /// The connection at `slot` is gone: so are its reply queues.
    pub fn close(&mut self, slot: u32) {
        for token in self.by_slot.remove(&slot).into_iter().flatten() {
            self.by_token.remove(&token);
        }
        if self.is_empty() {
            self.by_token.shrink_to_fit();
            self.by_slot.shrink_to_fit();
        }
    }

    /// Whether there is no reply queue.
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty() && self.by_slot.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_requester_and_nobody_after_the_end() {
        let mut replies = Replies::new(31, 1);
        let name = replies.open(4, "/temp-queue/x", 0xabc, 2).unwrap();
        assert_eq!(name, "/reply-queue/1f-00000000000000000000000000000abc");
        assert_eq!(replies.open(4, "/temp-queue/x", 0xdef, 2).unwrap(), name);
        assert_eq!(shard_of(&name), Some(31));
        let requester = Requester { slot: 4, subscription: "/temp-queue/x".into() };
        assert_eq!(replies.find(&name), Some(&requester));
        assert_ne!(replies.open(5, "/temp-queue/x", 0xdef, 2).unwrap(), name);
        assert!(replies.open(4, "/temp-queue/y", 1, 2).is_ok());
        assert_eq!(replies.open(4, "/temp-queue/z", 2, 2), Err(ReplyError::TooMany));
        replies.close(4);
        assert_eq!(replies.find(&name), None);
        replies.close(5);
        assert!(replies.is_empty());
    }

    #[test]
    fn only_names_as_given_are_read() {
        let token = "00000000000000000000000000000abc";
        for bad in ["/reply-queue/x", "/reply-queue/1f-abc", "/reply-queue/-", "/queue/1f-1"] {
            assert_eq!(shard_of(bad), None, "{bad}");
        }
        assert_eq!(shard_of(&format!("/reply-queue/+1-{token}")), None);
        assert_eq!(Replies::new(1, 1).find(&format!("/reply-queue/2-{token}")), None);
        assert!(is_reserved_id("/temp-queue/x") && !is_reserved_id("sub-0"));
    }
}
