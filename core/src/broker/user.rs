//! User destinations: one session, or all sessions of a user (stomp.md §2.1 "User destinations").
//!
//! A client that subscribes `/user/queue/x` gets a place under an internal name made of its
//! session's address. Internal names start with a control character, which
//! [`super::destination::classify`] refuses, so that no client can name, guess or forge one.
//! SEND `/user/{name}/queue/x` goes to the home shard of the user, whose [`Users`] knows the
//! sessions; each session's shard delivers by internal name, and the MESSAGE shows
//! `/user/queue/x`, which is what the client subscribed. `%2F` in a name means `/`, as in Spring.

use super::destination::{QUEUE_PREFIX, TOPIC_PREFIX};
use super::Keyed;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};

/// Prefix of user destinations.
pub const USER_PREFIX: &str = "/user/";

/// What internal names start with; no client's destination may contain it.
pub(super) const INTERNAL: char = '\u{1}';

/// Where a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    /// Its shard.
    pub shard: u32,
    /// Its connection's slot there.
    pub slot: u32,
    /// The slot's generation: a later connection of the slot is another session.
    pub generation: u32,
}

/// Rounds of the permutation that makes an address a session id; four of a keyed hash are enough
/// that nobody without the key can tell it from chance (Luby and Rackoff, 1988).
const ROUNDS_COUNT: u64 = 4;

/// An id in text, on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId([u8; 32]);

impl SessionId {
    /// 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The id of a session as clients see it: its address, 32 bits of zeros and a permutation over
/// both, in 32 hexadecimal digits. Nothing is stored, and nobody can guess one: `key` is secret and
/// random per start.
pub fn session_id(key: u64, session: Session) -> SessionId {
    let Session { shard, slot, generation } = session;
    let (mut left, mut right) = (pair(shard, slot), pair(generation, 0));
    for round in 0..ROUNDS_COUNT {
        (left, right) = (right, left ^ keyed_hash(key, round, right));
    }
    let digit = |at: usize| [left, right][at / 16] >> (60 - 4 * (at % 16)) & 15;
    SessionId(std::array::from_fn(|at| b"0123456789abcdef"[digit(at) as usize]))
}

/// The session with this id; none if it is not one that this start of the server gave out.
pub fn session_of(key: u64, id: &str) -> Option<Session> {
    let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() != 32 || !id.bytes().all(is_ours) {
        return None;
    }
    let half = |text| u64::from_str_radix(text, 16).ok();
    let (mut left, mut right) = (half(&id[..16])?, half(&id[16..])?);
    for round in (0..ROUNDS_COUNT).rev() {
        (left, right) = (right ^ keyed_hash(key, round, left), left);
    }
    let session =
        Session { shard: (left >> 32) as u32, slot: left as u32, generation: (right >> 32) as u32 };
    (right as u32 == 0).then_some(session)
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn keyed_hash(key: u64, round: u64, half: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    [key, round, half].into_iter().for_each(|part| hasher.write_u64(part));
    hasher.finish()
}

/// To whom a SEND on a user destination goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The user's name, decoded; none for the sender's own session.
    pub user: Option<Cow<'a, str>>,
    /// The destination behind it: `/queue/x` or `/topic/x`.
    pub inner: &'a str,
}

/// Reads a SEND's `/user/{name}/queue/x` (or `/topic/x`), or `/user/queue/x` for the sender's own
/// session; none for anything else, which is a bad destination. `/user/queue/queue/x` is the user
/// named `queue`.
pub fn send_target(destination: &str) -> Option<Target<'_>> {
    let rest = destination.strip_prefix(USER_PREFIX)?;
    let (name, _) = rest.split_once('/')?;
    let behind = &rest[name.len()..];
    if is_inner(behind) && !name.is_empty() {
        return Some(Target { user: Some(decode_name(name)), inner: behind });
    }
    let inner = &destination[USER_PREFIX.len() - 1..];
    is_inner(inner).then_some(Target { user: None, inner })
}

/// Reads a SUBSCRIBE's `/user/queue/x`: the destination behind it, which may be an Ant pattern.
pub fn subscribe_inner(destination: &str) -> Option<&str> {
    destination.strip_prefix("/user").filter(|inner| is_inner(inner))
}

/// The name under which a session's subscription to `inner` is kept on its shard. Nobody else can
/// subscribe or send to it.
pub fn internal_name(session: Session, inner: &str) -> Box<str> {
    let mut name = String::new();
    write_internal_name(&mut name, session, inner);
    name.into()
}

/// As [`internal_name`], in place of what is in `out`: a delivery needs no memory of its own.
pub fn write_internal_name(out: &mut String, session: Session, inner: &str) {
    let Session { shard, slot, generation } = session;
    out.clear();
    // Writing to a String does not fail.
    let _ = write!(out, "{INTERNAL}{shard}.{slot}.{generation}{inner}");
}

/// Whether a name is one of [`internal_name`].
pub fn is_internal(name: &str) -> bool {
    name.starts_with(INTERNAL)
}

/// The `destination` that the client sees for an internal name; others are shown as they are.
pub fn shown(name: &str) -> Cow<'_, str> {
    let inner = name.strip_prefix(INTERNAL).and_then(|name| name.find('/').map(|at| &name[at..]));
    match inner {
        // A temporary destination, which has a name of its own.
        Some(inner) if !is_inner(inner) => Cow::Borrowed(inner),
        Some(inner) => Cow::Owned(format!("/user{inner}")),
        None => Cow::Borrowed(name),
    }
}

/// Whether a destination looks like Spring's name for a session's user queue, `x-user<session>`
/// with one of our session ids of 32 hex digits: refused, since it can only be meant to spy
/// (stomp.md §5 row 62).
pub fn resembles_internal(destination: &str) -> bool {
    destination.rsplit_once("-user").is_some_and(|(_, session)| {
        session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// A user's name as one segment: `/` is written `%2F`.
pub fn encode_name(name: &str) -> Cow<'_, str> {
    match name.contains('/') {
        true => Cow::Owned(name.replace('/', "%2F")),
        false => Cow::Borrowed(name),
    }
}

/// The name that a segment stands for.
pub fn decode_name(segment: &str) -> Cow<'_, str> {
    match segment.contains("%2F") {
        true => Cow::Owned(segment.replace("%2F", "/")),
        false => Cow::Borrowed(segment),
    }
}

/// Whether a login may have this name: not empty, no control character, and no `%2F`, which could
/// not be told from `/` (stomp.md §5 row 86).
pub fn is_usable_name(name: &str) -> bool {
    !name.is_empty() && !name.contains("%2F") && !name.chars().any(char::is_control)
}

fn is_inner(text: &str) -> bool {
    let name = text.strip_prefix(QUEUE_PREFIX).or_else(|| text.strip_prefix(TOPIC_PREFIX));
    name.is_some_and(|name| !name.is_empty())
}

/// Which sessions of a user are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    All,
    /// The given one, if it is the user's.
    One(Session),
    /// The given one if it is the user's, else all: what Spring does with the sender's session.
    OwnOrAll(Session),
}

/// Nearly every user has one session, which costs no allocation of its own.
#[derive(Debug)]
enum Sessions {
    One(Session),
    Many(BTreeSet<Session>),
}

/// The sessions of the users whose home is one shard.
#[derive(Debug)]
pub struct Users(HashMap<Box<str>, Sessions, Keyed>);

impl Users {
    /// Nobody. `hash_key` is random per start: peers choose the names.
    pub fn new(hash_key: u64) -> Users {
        Users(HashMap::with_hasher(Keyed(hash_key)))
    }

    /// A session of `user` began. Adding it again changes nothing.
    pub fn add(&mut self, user: &str, session: Session) {
        match self.0.get_mut(user) {
            None => {
                self.0.insert(user.into(), Sessions::One(session));
            }
            Some(Sessions::Many(sessions)) => {
                sessions.insert(session);
            }
            Some(known) => {
                if let Sessions::One(first) = *known {
                    if first != session {
                        *known = Sessions::Many(BTreeSet::from([first, session]));
                    }
                }
            }
        }
    }

    /// A session of `user` ended. The last one frees the entry.
    pub fn remove(&mut self, user: &str, session: Session) {
        let is_last = match self.0.get_mut(user) {
            None => false,
            Some(Sessions::One(only)) => *only == session,
            Some(Sessions::Many(sessions)) => {
                sessions.remove(&session);
                sessions.is_empty()
            }
        };
        if is_last {
            self.0.remove(user);
            if self.0.capacity() > 64 && self.0.len() < self.0.capacity() / 4 {
                self.0.shrink_to(self.0.len() * 2);
            }
        }
    }

    /// Calls `f` for the sessions that are meant, by shard; returns their number.
    pub fn for_each(&self, user: &str, audience: Audience, mut f: impl FnMut(Session)) -> usize {
        let Some(sessions) = self.0.get(user) else { return 0 };
        let has = |wanted: &Session| match sessions {
            Sessions::One(only) => only == wanted,
            Sessions::Many(sessions) => sessions.contains(wanted),
        };
        match (audience, sessions) {
            (Audience::One(one) | Audience::OwnOrAll(one), _) if has(&one) => {
                f(one);
                1
            }
            (Audience::One(_), _) => 0,
            (_, Sessions::One(only)) => {
                f(*only);
                1
            }
            (_, Sessions::Many(sessions)) => {
                sessions.iter().copied().for_each(f);
                sessions.len()
            }
        }
    }

    /// Number of users with a session.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::destination::{classify, DestinationError, Prefixes, Profile};
    use crate::limits::Limits;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SESSION: Session = Session { shard: 3, slot: 7, generation: 2 };

    #[test]
    fn a_send_names_a_user_or_the_own_session() {
        let target = |text| send_target(text).map(|t| (t.user.map(Cow::into_owned), t.inner));
        let to = |user: &str, inner| Some((Some(user.to_owned()), inner));
        assert_eq!(target("/user/bob/queue/x"), to("bob", "/queue/x"));
        assert_eq!(target("/user/a%2Fb/topic/x/y"), to("a/b", "/topic/x/y"));
        assert_eq!(target("/user/queue/queue/x"), to("queue", "/queue/x"));
        assert_eq!(target("/user/queue/x"), Some((None, "/queue/x")));
        for bad in ["/user/bob", "/user/bob/x", "/user/bob/queue/", "/user//queue/x", "/queue/x"] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    /// Catalogue: I14.
    #[test]
    fn nobody_can_name_an_internal_name_and_the_client_sees_its_own() {
        let name = internal_name(SESSION, subscribe_inner("/user/queue/x").unwrap());
        assert_eq!(shown(&name), "/user/queue/x");
        assert!(is_internal(&name) && !is_internal("/user/queue/x"));
        assert_eq!(shown("/topic/x"), "/topic/x");
        assert_eq!(shown(&internal_name(SESSION, "/temp-queue/x")), "/temp-queue/x");
        for profile in [Profile::Default, Profile::Spring, Profile::RabbitMq, Profile::ActiveMq] {
            let seen = classify(&name, &Prefixes::of(profile), &Limits::default());
            assert_eq!(seen, Err(DestinationError::Bad));
        }
        assert_eq!(subscribe_inner("/user/bob/queue/x"), None);
        let other = Session { generation: 3, ..SESSION };
        assert_ne!(name, internal_name(other, "/queue/x"));
    }

    /// Catalogue: I14, I16.
    #[test]
    fn a_session_id_names_its_session_and_nobody_elses() {
        let sessions = (0..4_096).map(|n| Session { shard: n % 5, slot: n, generation: n / 7 });
        let mut ids = BTreeSet::new();
        for session in sessions {
            let id = session_id(9, session);
            assert!(resembles_internal(&format!("/queue/x-user{}", id.as_str())));
            assert_eq!(session_of(9, id.as_str()), Some(session));
            // Another start of the server does not know it.
            assert_eq!(session_of(8, id.as_str()), None);
            assert!(ids.insert(id), "twice");
        }
        let id = session_id(9, SESSION);
        let id = id.as_str();
        let guess = format!("{}{}", if id.starts_with('0') { '1' } else { '0' }, &id[1..]);
        for bad in [&*guess, &id.to_uppercase(), &id[1..], "", "+123456789abcdef0123456789abcdef"] {
            assert!(session_of(9, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn springs_internal_names_are_refused() {
        assert!(resembles_internal("/queue/x-user0123456789abcdef0123456789ABCDEF"));
        assert!(!resembles_internal("/queue/x-users") && !resembles_internal("/queue/x-user0123"));
    }

    /// Catalogue: I13.
    #[test]
    fn names_are_one_segment() {
        assert_eq!(decode_name(&encode_name("a/b/c")), "a/b/c");
        assert_eq!(encode_name("a/b"), "a%2Fb");
        assert!(is_usable_name("a/b") && is_usable_name("50%"));
        assert!(!["", "a\nb", "a\r", "a%2Fb"].iter().any(|name| is_usable_name(name)));
    }

    #[test]
    fn one_session_or_all() {
        let mut users = Users::new(1);
        let second = Session { shard: 0, ..SESSION };
        let stranger = Session { slot: 9, ..SESSION };
        users.add("bob", SESSION);
        users.add("bob", second);
        let reached = |users: &Users, audience| {
            let mut seen = Vec::new();
            assert_eq!(users.for_each("bob", audience, |one| seen.push(one)), seen.len());
            seen
        };
        assert_eq!(reached(&users, Audience::All), [second, SESSION]);
        assert_eq!(reached(&users, Audience::One(SESSION)), [SESSION]);
        assert_eq!(reached(&users, Audience::One(stranger)), []);
        assert_eq!(reached(&users, Audience::OwnOrAll(SESSION)), [SESSION]);
        assert_eq!(reached(&users, Audience::OwnOrAll(stranger)), [second, SESSION]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_of_sets(
            steps in prop::collection::vec((any::<bool>(), 0u32..4, 0u32..4), 0..60)
        ) {
            let (mut users, mut model) = (Users::new(1), BTreeMap::<_, BTreeSet<_>>::new());
            for (add, user, slot) in steps {
                let (name, session) = (format!("u{user}"), Session { slot, ..SESSION });
                let known = model.entry(name.clone()).or_default();
                if add {
                    users.add(&name, session);
                    known.insert(session);
                } else {
                    users.remove(&name, session);
                    known.remove(&session);
                }
                model.retain(|_, sessions| !sessions.is_empty());
                prop_assert_eq!(users.len(), model.len());
                for (name, sessions) in &model {
                    let mut seen = BTreeSet::new();
                    users.for_each(name, Audience::All, |one| { seen.insert(one); });
                    prop_assert_eq!(&seen, sessions);
                }
            }
        }
    }
}
