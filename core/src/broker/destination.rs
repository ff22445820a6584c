//! What a destination is: its kind by prefix, whether it is a pattern, and which shard is its home.
//!
//! A destination no prefix claims is an ERROR, never a silent drop (design.md §8; stomp.md §2.1
//! "Destination prefixes" and §5 rows 48 to 50). Names are opaque, case-sensitive UTF-8, never
//! trimmed:
//! `/topic/a` and `/topic/a ` differ (stomp.md §1.2 "Padding").
//!
//! Whatever spans or outlives a socket has a home shard by keyed hash of its name (design.md §4),
//! so that there is one order per destination and no lock.

use super::pattern::{Dialect, Pattern, PatternError};
use super::Keyed;
use crate::limits::Limits;
use crate::search::has_any;
use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

/// How a destination distributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Broadcast: every matching subscription gets every message, at most once.
    Topic,
    /// Competing consumers: one of them gets each message.
    Queue,
    /// The sessions of a user, or this one: [`super::user`].
    User,
    /// Only as the `reply-to` of a SEND: [`super::reply`]. ActiveMQ subscribes to them, too.
    TempQueue,
    /// Only for SEND: what a `reply-to` was rewritten to.
    ReplyQueue,
    /// Served by handlers or a service connection, not brokered.
    App,
}

/// Prefix of broadcast destinations.
pub const TOPIC_PREFIX: &str = "/topic/";

/// Prefix of queues.
pub const QUEUE_PREFIX: &str = "/queue/";

/// In an operator's rule: every destination, whatever its prefix.
pub const EVERYTHING: &str = "/**";

/// The pattern of all names of a fanout.
const ALL: &str = "#";

/// In an operator's rule, behind a prefix: all that it claims, whatever its dialect.
const ALL_BELOW: &str = "**";

/// What one prefix means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// What the destination starts with, up to the last `/`; empty claims names without a `/`.
    pub text: Cow<'static, str>,
    /// How it distributes.
    pub kind: Kind,
    /// The language of its patterns; none where a subscription is always literal.
    pub dialect: Option<Dialect>,
    /// The prefix that the same destination has as well; the broker knows it by that one.
    pub alias: Option<&'static str>,
    /// Whether `/` in the name is refused, as RabbitMQ does.
    pub is_flat: bool,
    /// Whether all names, the empty one included, are one destination: RabbitMQ's `amq.fanout`. The
    /// text then ends without `/`.
    pub is_fanout: bool,
}

impl Prefix {
    /// A prefix with patterns in `dialect`, not flat, no alias.
    pub const fn new(text: &'static str, kind: Kind, dialect: Option<Dialect>) -> Prefix {
        let text = Cow::Borrowed(text);
        Prefix { text, kind, dialect, alias: None, is_flat: false, is_fanout: false }
    }

    const fn flat(mut self) -> Prefix {
        self.is_flat = true;
        self
    }

    const fn fanout(mut self) -> Prefix {
        self.is_fanout = true;
        self
    }

    const fn alias(mut self, of: &'static str) -> Prefix {
        self.alias = Some(of);
        self
    }
}

/// Whose habits the broker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Ant patterns, `/queue` of competing consumers.
    #[default]
    Default,
    /// Spring's simple broker: `/queue` is broadcast too.
    Spring,
    /// RabbitMQ: AMQP patterns, flat names, exchanges, a bare name is a queue.
    RabbitMq,
    /// ActiveMQ: its wildcards, a bare name is a queue.
    ActiveMq,
}

impl Profile {
    /// Its name as an option's value.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Default => "default",
            Profile::Spring => "spring",
            Profile::RabbitMq => "rabbitmq",
            Profile::ActiveMq => "activemq",
        }
    }
}

impl Profile {
    /// Its prefixes, for people.
    pub fn known_prefixes(self) -> &'static str {
        match self {
            Profile::Default | Profile::Spring => "/topic/, /queue/, /user/ and /app/",
            Profile::RabbitMq => {
                "/topic/, /queue/, /amq/queue/, /exchange/amq.topic/, /exchange/amq.direct/, \
                 /exchange/amq.fanout, /user/ and /app/"
            }
            Profile::ActiveMq => "/topic/, /queue/, /user/, /app/ and names without /",
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Profile, &'static str> {
        [Profile::Default, Profile::Spring, Profile::RabbitMq, Profile::ActiveMq]
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or("allowed is default, spring, rabbitmq or activemq")
    }
}

const ANT: Option<Dialect> = Some(Dialect::Ant);
const USER: Prefix = Prefix::new("/user/", Kind::User, ANT);
const TEMP_QUEUE: Prefix = Prefix::new("/temp-queue/", Kind::TempQueue, None);
const REPLY_QUEUE: Prefix = Prefix::new("/reply-queue/", Kind::ReplyQueue, None);
const APP: Prefix = Prefix::new("/app/", Kind::App, ANT);

// The longest first, so that the first that fits is the one.

static TOPICS: [Prefix; 1] = [Prefix::new(TOPIC_PREFIX, Kind::Topic, ANT)];

static DEFAULT: [Prefix; 6] = [
    REPLY_QUEUE,
    TEMP_QUEUE,
    Prefix::new(TOPIC_PREFIX, Kind::Topic, ANT),
    Prefix::new(QUEUE_PREFIX, Kind::Queue, None),
    USER,
    APP,
];

static SPRING: [Prefix; 6] = [
    REPLY_QUEUE,
    TEMP_QUEUE,
    Prefix::new(TOPIC_PREFIX, Kind::Topic, ANT),
    Prefix::new(QUEUE_PREFIX, Kind::Topic, ANT),
    USER,
    APP,
];

static RABBITMQ: [Prefix; 11] = [
    Prefix::new("/exchange/amq.direct/", Kind::Topic, None),
    Prefix::new("/exchange/amq.topic/", Kind::Topic, Some(Dialect::Amqp)).alias(TOPIC_PREFIX),
    Prefix::new("/exchange/amq.fanout", Kind::Topic, Some(Dialect::Amqp)).fanout(),
    REPLY_QUEUE,
    TEMP_QUEUE,
    Prefix::new("/amq/queue/", Kind::Queue, None).flat().alias(QUEUE_PREFIX),
    Prefix::new(TOPIC_PREFIX, Kind::Topic, Some(Dialect::Amqp)).flat(),
    Prefix::new(QUEUE_PREFIX, Kind::Queue, None).flat(),
    USER,
    APP,
    Prefix::new("", Kind::Queue, None).flat().alias(QUEUE_PREFIX),
];

static ACTIVEMQ: [Prefix; 8] = [
    REPLY_QUEUE,
    TEMP_QUEUE,
    Prefix::new("/temp-topic/", Kind::TempQueue, None),
    Prefix::new(TOPIC_PREFIX, Kind::Topic, Some(Dialect::ActiveMq)),
    Prefix::new(QUEUE_PREFIX, Kind::Queue, None),
    USER,
    APP,
    Prefix::new("", Kind::Queue, None).flat().alias(QUEUE_PREFIX),
];

/// Every prefix the broker serves. The longest that fits claims a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes(Cow<'static, [Prefix]>);

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes::of(Profile::Default)
    }
}

impl Prefixes {
    /// `/topic/` alone: a broker that serves nothing else.
    pub const TOPICS: Prefixes = Prefixes(Cow::Borrowed(&TOPICS));

    /// The table of a profile.
    pub fn of(profile: Profile) -> Prefixes {
        Prefixes(Cow::Borrowed(match profile {
            Profile::Default => &DEFAULT[..],
            Profile::Spring => &SPRING,
            Profile::RabbitMq => &RABBITMQ,
            Profile::ActiveMq => &ACTIVEMQ,
        }))
    }

    /// Adds a prefix, or replaces the one of the same text.
    pub fn set(&mut self, prefix: Prefix) {
        let prefixes = self.0.to_mut();
        match prefixes.iter_mut().find(|known| known.text == prefix.text) {
            Some(known) => *known = prefix,
            None => {
                let is_longer = |known: &Prefix| known.text.len() > prefix.text.len();
                prefixes.insert(prefixes.partition_point(is_longer), prefix);
            }
        }
    }

    /// The prefix that claims a destination.
    pub fn find(&self, destination: &str) -> Option<&Prefix> {
        let fits = |prefix: &&Prefix| match &*prefix.text {
            "" => !destination.starts_with('/'),
            text => destination.strip_prefix(text).is_some_and(|name| {
                !prefix.is_fanout || name.is_empty() || name.starts_with('/') || name == ALL
            }),
        };
        self.0.iter().find(fits)
    }

    /// Whether the name of a queue would be a pattern if it were a topic's. Queues have none: who
    /// writes one means something else than the queue of that literal name.
    pub fn is_queue_pattern(&self, claim: &Claim<'_>) -> bool {
        let is_wild = |byte: u8| matches!(byte, b'*' | b'?' | b'{' | b'#' | b'>');
        claim.kind == Kind::Queue && claim.name.bytes().any(is_wild) && {
            let dialect = self.find(TOPIC_PREFIX).and_then(|prefix| prefix.dialect);
            dialect.is_some_and(|dialect| dialect.is_pattern(claim.name))
        }
    }

    /// Parses a subscription's destination as a pattern of its prefix's dialect; none if it is a
    /// literal name. A text that no prefix claims is Ant, so that a rule may say `/**`.
    pub fn pattern(&self, text: &str, limits: &Limits) -> Result<Option<Pattern>, PatternError> {
        let prefix = self.find(text);
        let dialect = prefix.map_or(ANT, |prefix| prefix.dialect);
        let head = prefix.map_or("", |prefix| &prefix.text);
        match dialect.filter(|dialect| dialect.is_pattern(&text[head.len()..])) {
            Some(dialect) => Pattern::parse_as(dialect, text, head, limits).map(Some),
            None => Ok(None),
        }
    }

    /// Whether an operator's rule about `text` can ever fit: it is [`EVERYTHING`], or something
    /// behind a prefix of a kind that `wanted` takes. An alias is none, for rules see the other
    /// name of its destinations; nor are names without a prefix.
    pub fn has_rules_for(&self, text: &str, wanted: fn(Kind) -> bool) -> bool {
        let is_named = |prefix: &&Prefix| {
            let name = &text[prefix.text.len()..];
            prefix.is_fanout || !(name.is_empty() || prefix.is_flat && name.contains('/'))
        };
        let prefix = self.find(text).filter(is_named);
        text == EVERYTHING
            || prefix.is_some_and(|prefix| prefix.alias.is_none() && wanted(prefix.kind))
    }

    /// What [`Prefixes::has_rules_for`] takes, for the error that refuses something else.
    pub fn rule_prefixes(&self, wanted: fn(Kind) -> bool) -> String {
        let prefixes = self.0.iter().filter(|prefix| prefix.alias.is_none() && wanted(prefix.kind));
        let texts = prefixes.map(|prefix| format!("{}..., ", prefix.text)).collect::<String>();
        format!("{texts}{EVERYTHING}")
    }

    /// Parses the destination of an operator's rule, in the dialect of its prefix: a literal name
    /// matches itself, `**` alone behind a prefix is all of it in any dialect, and each name of a
    /// fanout is all of it.
    ///
    /// # Errors
    /// Those of [`Pattern::parse_as`], and a wildcard of another dialect, which would be taken
    /// literally: the rule would be void, and a denial open.
    pub fn rule(&self, text: &str, limits: &Limits) -> Result<Pattern, PatternError> {
        let prefix = self.find(text);
        let dialect = prefix.and_then(|prefix| prefix.dialect).unwrap_or_default();
        let head = prefix.map_or("", |prefix| &prefix.text);
        let name = &text[head.len()..];
        if prefix.is_some_and(|prefix| prefix.is_fanout) || name == ALL_BELOW {
            let all = format!("{head}{}", dialect.all());
            return Pattern::parse_as(dialect, &all, head, limits);
        }
        dialect.check_own(name)?;
        Pattern::parse_as(dialect, text, head, limits)
    }
}

/// What [`classify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// How it distributes.
    pub kind: Kind,
    /// The language of its patterns, if it has any.
    pub dialect: Option<Dialect>,
    /// What follows the prefix; only of a fanout it may be empty.
    pub name: &'a str,
    alias: Option<&'static str>,
    is_fanout: bool,
}

impl Claim<'_> {
    /// The name by which the broker knows `destination` (the one that was classified).
    pub fn canonical<'d>(&self, destination: &'d str) -> Cow<'d, str> {
        match self.alias {
            Some(alias) => Cow::Owned(format!("{alias}{}", self.name)),
            None => Cow::Borrowed(destination),
        }
    }

    /// The name by which the broker knows a subscription to `destination`: of a fanout, all names.
    pub fn subscribed<'d>(&self, destination: &'d str) -> Cow<'d, str> {
        match destination.strip_suffix(self.name) {
            Some(prefix) if self.is_fanout => Cow::Owned(format!("{prefix}{ALL}")),
            _ => self.canonical(destination),
        }
    }

    /// Whether a SUBSCRIBE may name it (stomp.md §2.2 `/temp-queue/`, `/reply-queue/`).
    pub fn for_subscribe(self) -> Result<Self, DestinationError> {
        match self.kind {
            Kind::TempQueue | Kind::ReplyQueue => Err(DestinationError::Misused),
            _ => Ok(self),
        }
    }

    /// Whether a SEND may name it.
    pub fn for_send(self) -> Result<Self, DestinationError> {
        match self.kind {
            Kind::TempQueue => Err(DestinationError::Misused),
            _ => Ok(self),
        }
    }
}

/// Why a destination is refused. All are the client's fault; the answer is ERROR and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationError {
    /// Empty (also after its prefix), longer than `destination_bytes_max`, or with control
    /// characters.
    Bad,
    /// No configured prefix claims it.
    Unroutable,
    /// A temporary or reply queue where only other destinations may be.
    Misused,
}

/// Says what a destination of a SEND or SUBSCRIBE is. Limit: `destination_bytes_max`.
///
/// Control characters are refused, so internal names that start with one cannot come from a client.
pub fn classify<'a>(
    destination: &'a str,
    prefixes: &Prefixes,
    limits: &Limits,
) -> Result<Claim<'a>, DestinationError> {
    if destination.is_empty()
        || destination.len() > limits.destination_bytes_max
        || has_control(destination)
    {
        return Err(DestinationError::Bad);
    }
    let prefix = prefixes.find(destination).ok_or(DestinationError::Unroutable)?;
    let name = &destination[prefix.text.len()..];
    let is_empty = name.is_empty() && !prefix.is_fanout;
    if is_empty || (prefix.is_flat && name.contains('/')) {
        return Err(DestinationError::Bad);
    }
    let Prefix { kind, dialect, alias, is_fanout, .. } = *prefix;
    Ok(Claim { kind, dialect, name, alias, is_fanout })
}

fn has_control(text: &str) -> bool {
    // Beyond ASCII there are control characters too.
    let may_be = |byte: u8| !(0x20..0x7f).contains(&byte);
    has_any(text.as_bytes(), may_be) && text.chars().any(char::is_control)
}

/// The home shard of a destination: `0..shards`, evenly spread by a hash keyed with `key`, the same
/// on every shard of a process. No shards counts as one.
pub fn home_shard(key: u64, destination: &str, shards: usize) -> usize {
    if shards <= 1 {
        return 0;
    }
    let mut hasher = Keyed(key).build_hasher();
    hasher.write(destination.as_bytes());
    // Multiply and shift maps the whole hash onto the range without a division's bias.
    ((u128::from(hasher.finish()) * shards as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(destination: &str, profile: Profile) -> Result<Kind, DestinationError> {
        let claim = classify(destination, &Prefixes::of(profile), &Limits::default());
        claim.map(|claim| claim.kind)
    }

    #[test]
    fn queues_have_no_patterns() {
        use Profile::{ActiveMq, Default, RabbitMq, Spring};
        for (destination, profile, wanted) in [
            ("/queue/*", Default, true),
            ("/queue/{a}", Default, true),
            ("/queue/a.>", Default, false),
            ("/topic/*", Default, false),
            ("/queue/*", Spring, false),
            ("/queue/a.>", ActiveMq, true),
            ("a.>", ActiveMq, true),
            ("/queue/a?", ActiveMq, false),
            ("/queue/a.#", RabbitMq, true),
            ("/queue/a#", RabbitMq, false),
        ] {
            let prefixes = Prefixes::of(profile);
            let claim = classify(destination, &prefixes, &Limits::default()).expect("claimed");
            assert_eq!(prefixes.is_queue_pattern(&claim), wanted, "{destination} {profile:?}");
        }
    }

    #[test]
    fn people_are_told_prefixes_that_exist() {
        use Profile::{ActiveMq, Default, RabbitMq, Spring};
        for profile in [Default, Spring, RabbitMq, ActiveMq] {
            let text = profile.known_prefixes();
            for prefix in Prefixes::of(profile).0.iter().filter(|prefix| !prefix.text.is_empty()) {
                let is_own = matches!(prefix.kind, Kind::TempQueue | Kind::ReplyQueue);
                assert_eq!(text.contains(&*prefix.text), !is_own, "{} {profile:?}", prefix.text);
            }
        }
    }

    #[test]
    fn each_profile_has_its_prefixes() {
        use Profile::{ActiveMq, Default, RabbitMq, Spring};
        for (destination, profile, wanted) in [
            ("/topic/a/b", Default, Ok(Kind::Topic)),
            ("/topic/ä ", Default, Ok(Kind::Topic)),
            ("/topic//", Default, Ok(Kind::Topic)),
            ("/queue/a", Default, Ok(Kind::Queue)),
            ("/queue/a", Spring, Ok(Kind::Topic)),
            ("/user/queue/a", Default, Ok(Kind::User)),
            ("/temp-queue/a", Default, Ok(Kind::TempQueue)),
            ("/reply-queue/a/b", RabbitMq, Ok(Kind::ReplyQueue)),
            ("/app/a", Spring, Ok(Kind::App)),
            ("/topic/a/b", RabbitMq, Err(DestinationError::Bad)),
            ("/amq/queue/a", RabbitMq, Ok(Kind::Queue)),
            ("/exchange/amq.direct/a", RabbitMq, Ok(Kind::Topic)),
            ("/exchange/other/a", RabbitMq, Err(DestinationError::Unroutable)),
            ("/exchange/amq.topic/a", Default, Err(DestinationError::Unroutable)),
            ("bare", RabbitMq, Ok(Kind::Queue)),
            ("bare", ActiveMq, Ok(Kind::Queue)),
            ("bare", Default, Err(DestinationError::Unroutable)),
        ] {
            assert_eq!(kind(destination, profile), wanted, "{destination} {profile:?}");
        }
    }

    #[test]
    fn aliases_are_one_destination() {
        let rabbit = Prefixes::of(Profile::RabbitMq);
        for (alias, canonical) in [
            ("/amq/queue/a", "/queue/a"),
            ("a", "/queue/a"),
            ("/exchange/amq.topic/a.b", "/topic/a.b"),
            ("/queue/a", "/queue/a"),
        ] {
            let claim = classify(alias, &rabbit, &Limits::default()).unwrap();
            assert_eq!(claim.canonical(alias), canonical);
        }
    }

    #[test]
    fn a_fanout_is_one_destination_by_many_names() {
        let (rabbit, limits) = (Prefixes::of(Profile::RabbitMq), Limits::default());
        for name in ["/exchange/amq.fanout", "/exchange/amq.fanout/", "/exchange/amq.fanout/a.b"] {
            let claim = classify(name, &rabbit, &limits).unwrap();
            assert_eq!((claim.kind, &*claim.canonical(name)), (Kind::Topic, name));
            let subscribed = claim.subscribed(name);
            assert_eq!(subscribed, "/exchange/amq.fanout#");
            let pattern = rabbit.pattern(&subscribed, &limits).unwrap().unwrap();
            assert!(pattern.matches("/exchange/amq.fanout") && pattern.matches(name));
            assert!(!pattern.matches("/exchange/amq.direct/a"));
        }
        let other = kind("/exchange/amq.fanouts", Profile::RabbitMq);
        assert_eq!(other, Err(DestinationError::Unroutable));
    }

    #[test]
    fn temporary_queues_are_for_reply_to_alone() {
        let claim = |name| classify(name, &Prefixes::default(), &Limits::default()).unwrap();
        assert_eq!(claim("/temp-queue/a").for_send(), Err(DestinationError::Misused));
        assert_eq!(claim("/temp-queue/a").for_subscribe(), Err(DestinationError::Misused));
        assert_eq!(claim("/reply-queue/a").for_subscribe(), Err(DestinationError::Misused));
        assert!(claim("/reply-queue/a").for_send().is_ok());
        assert!(claim("/queue/a").for_send().and_then(Claim::for_subscribe).is_ok());
    }

    #[test]
    fn the_prefix_decides_the_dialect() {
        let limits = Limits::default();
        let (ant, amqp) = (Prefixes::default(), Prefixes::of(Profile::RabbitMq));
        let is_pattern =
            |prefixes: &Prefixes, text| prefixes.pattern(text, &limits).map(|p| p.is_some());
        assert_eq!(is_pattern(&ant, "/topic/a*"), Ok(true));
        assert_eq!(is_pattern(&ant, "/queue/a*"), Ok(false));
        assert_eq!(is_pattern(&amqp, "/topic/a*"), Ok(false));
        assert_eq!(is_pattern(&amqp, "/topic/#"), Ok(true));
        let pattern = amqp.pattern("/topic/a.#", &limits).unwrap().unwrap();
        assert!(pattern.matches("/topic/a.b.c"));
        assert!(ant.rule("/**", &limits).unwrap().matches("/queue/a"));
    }

    #[test]
    fn the_longest_prefix_comes_first() {
        let of = [Profile::Default, Profile::Spring, Profile::RabbitMq, Profile::ActiveMq];
        for mut prefixes in of.map(Prefixes::of).into_iter().chain([Prefixes::TOPICS]) {
            prefixes.set(Prefix::new("/topic/longer/", Kind::App, None));
            assert!(prefixes.0.is_sorted_by_key(|prefix| std::cmp::Reverse(prefix.text.len())));
            assert_eq!(prefixes.find("/topic/longer/x").unwrap().kind, Kind::App);
        }
    }

    #[test]
    fn a_prefix_can_be_set() {
        let mut prefixes = Prefixes::default();
        prefixes.set(Prefix::new("/queue/", Kind::Topic, ANT));
        prefixes.set(Prefix::new("/feed/", Kind::Topic, None));
        for name in ["/queue/a", "/feed/a"] {
            assert_eq!(classify(name, &prefixes, &Limits::default()).unwrap().kind, Kind::Topic);
        }
        assert_eq!("rabbitmq".parse(), Ok(Profile::RabbitMq));
        assert!("rabbit".parse::<Profile>().is_err());
    }

    #[test]
    fn bad_names_are_refused_before_the_prefix_is_looked_at() {
        let long = format!("/topic/{}", "x".repeat(1_018));
        for bad in ["", "/topic/", "/topic/a\0", "/topic/a\nb", "x\r", "/topic/\u{85}", &long] {
            assert_eq!(kind(bad, Profile::Default), Err(DestinationError::Bad), "{bad:?}");
        }
        assert_eq!(kind(&long[..1_024], Profile::Default), Ok(Kind::Topic));
    }

    #[test]
    fn unknown_prefixes_are_unroutable() {
        let limits = Limits::default();
        for unknown in ["/topic", "topic/a", "/Topic/a", "/queue/a", " /topic/a", "a"] {
            let seen = classify(unknown, &Prefixes::TOPICS, &limits);
            assert_eq!(seen, Err(DestinationError::Unroutable), "{unknown}");
        }
    }

    #[test]
    fn homes_are_stable_in_range_spread_and_keyed() {
        for shards in [1, 2, 7, 56, 1_024] {
            let mut seen = vec![0usize; shards];
            for number in 0..shards * 200 {
                let name = format!("/topic/{number}");
                let home = home_shard(42, &name, shards);
                assert_eq!(home, home_shard(42, &name, shards));
                seen[home] += 1;
            }
            assert!(seen.iter().all(|&count| count > 100 && count < 320), "{shards}: {seen:?}");
        }
        let moved = (0..1_000)
            .filter(|number| {
                let name = format!("/topic/{number}");
                home_shard(1, &name, 64) != home_shard(2, &name, 64)
            })
            .count();
        assert!(moved > 900, "the key decides, {moved} of 1000 moved");
        assert_eq!(home_shard(1, "/topic/a", 0), 0);
    }
}
