//! Who may publish and subscribe where: ordered rules, the first that applies decides.
//!
//! A rule is `who verb pattern` (issue 5 item 9). `who` is `any`, `anonymous`, `authenticated` or
//! `user:NAME`; `verb` is `publish`, `subscribe` or `both`; the pattern is in the dialect of its
//! prefix, where a wildcard of another one is an error, and may hold `{user}` as a whole segment:
//! the client's own name, taken literally. `/**` is everything, `/topic/**` all topics, always.
//!
//! A subscription by pattern is granted by a rule that covers all of it and refused by one that
//! overlaps it, so that `/topic/**` never reads what a rule hides. Where no rule applies, all is
//! allowed but two things: sending to another user's sessions, and subscribing to a pattern of
//! `/app/`, which is a service's right. The operator closes the rest with `any both /**`, denied.

use super::destination::{Kind, Prefixes};
use super::pattern::{Pattern, PatternError};
use super::user::send_target;
use crate::limits::Limits;
use std::fmt;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// SEND
    Publish,
    /// SUBSCRIBE
    Subscribe,
}

/// Why the text of a rule is refused: the operator's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// Not three words.
    Parts,
    /// An unknown `who`.
    Who,
    /// An unknown `verb`.
    Verb,
    /// `{user}` twice, not as a whole segment, or behind a wildcard.
    Placeholder,
    /// No prefix claims it, so it would never apply: the rule is void, and a denial open.
    Destination,
    /// The pattern cannot be parsed.
    Pattern(PatternError),
}

impl fmt::Display for RuleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            RuleError::Parts => "bad rule: allowed is 'who verb pattern', three words",
            RuleError::Who => "bad who: allowed is any, anonymous, authenticated or user:NAME",
            RuleError::Verb => "bad verb: allowed is publish, subscribe or both",
            RuleError::Destination => "bad destination: nothing under this profile fits it",
            RuleError::Placeholder => {
                "bad {user}: allowed is once, as a whole segment, before any wildcard"
            }
            RuleError::Pattern(error) => return error.fmt(out),
        })
    }
}

impl std::error::Error for RuleError {}

/// The answer to a client that may not: ERROR and close, or softly if it asked for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

impl Denied {
    /// The text for the ERROR frame's `message` header. Never says which rule.
    pub fn message(self) -> &'static str {
        "access denied"
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Any,
    Anonymous,
    Authenticated,
    User(Box<str>),
}

impl Who {
    fn includes(&self, user: Option<&str>) -> bool {
        match self {
            Who::Any => true,
            Who::Anonymous => user.is_none(),
            Who::Authenticated => user.is_some(),
            Who::User(name) => user == Some(&**name),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Object {
    Fixed(Pattern),
    /// `before{user}after`: with the name put in, one pattern per user.
    Own {
        before: Box<str>,
        after: Box<str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    is_allow: bool,
    who: Who,
    /// None: both.
    verb: Option<Verb>,
    object: Object,
}

/// The rules of a server, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    rules: Vec<Rule>,
    prefixes: Prefixes,
    limits: Limits,
}

impl Authorization {
    /// No rules yet: the defaults alone.
    pub fn new(prefixes: Prefixes, limits: Limits) -> Authorization {
        Authorization { rules: Vec::new(), prefixes, limits }
    }

    /// Adds the rule `who verb pattern` behind the others.
    pub fn add(&mut self, is_allow: bool, text: &str) -> Result<(), RuleError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [who, verb, text] = parts[..] else { return Err(RuleError::Parts) };
        let who = match (who, who.strip_prefix("user:")) {
            ("any", _) => Who::Any,
            ("anonymous", _) => Who::Anonymous,
            ("authenticated", _) => Who::Authenticated,
            (_, Some(name)) if !name.is_empty() => Who::User(name.into()),
            _ => return Err(RuleError::Who),
        };
        let verb = match verb {
            "publish" => Some(Verb::Publish),
            "subscribe" => Some(Verb::Subscribe),
            "both" => None,
            _ => return Err(RuleError::Verb),
        };
        let object = self.object(text)?;
        self.rules.push(Rule { is_allow, who, verb, object });
        Ok(())
    }

    /// The names in `user:NAME`, of rules in their order: for a look whether there are such users.
    pub fn user_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| match &rule.who {
            Who::User(name) => Some(&**name),
            _ => None,
        })
    }

    /// Whether a client (`user` is none if anonymous) may do this. `destination` is the canonical
    /// name ([`super::destination::Claim::canonical`]), so that no alias slips past a rule; `kind`
    /// is what it was classified as. Work: each rule once; nothing is allocated for a literal
    /// destination and a rule without `{user}`.
    #[inline]
    pub fn check(
        &self,
        user: Option<&str>,
        verb: Verb,
        destination: &str,
        kind: Kind,
    ) -> Result<(), Denied> {
        // Most servers have no rules, and then most messages need no look.
        if self.rules.is_empty() && verb == Verb::Publish && kind != Kind::User {
            return Ok(());
        }
        self.check_each(user, verb, destination, kind)
    }

    fn check_each(
        &self,
        user: Option<&str>,
        verb: Verb,
        destination: &str,
        kind: Kind,
    ) -> Result<(), Denied> {
        let limits = &self.limits;
        // A SEND is to a literal name, whatever characters are in it.
        let pattern = match verb {
            Verb::Publish => None,
            Verb::Subscribe => self.prefixes.pattern(destination, limits).map_err(|_| Denied)?,
        };
        for rule in &self.rules {
            let is_asked = rule.verb.is_none_or(|known| known == verb) && rule.who.includes(user);
            if is_asked && self.applies(rule, user, destination, pattern.as_ref()) {
                return if rule.is_allow { Ok(()) } else { Err(Denied) };
            }
        }
        let is_allowed = match (kind, verb) {
            (Kind::User, Verb::Publish) => match send_target(destination) {
                Some(target) => target.user.is_none() || target.user.as_deref() == user,
                None => false,
            },
            (Kind::App, Verb::Subscribe) => pattern.is_none(),
            _ => true,
        };
        if is_allowed {
            Ok(())
        } else {
            Err(Denied)
        }
    }

    fn object(&self, text: &str) -> Result<Object, RuleError> {
        let limits = &self.limits;
        if !self.prefixes.has_rules_for(text, |_| true) {
            return Err(RuleError::Destination);
        }
        let Some((before, after)) = text.split_once("{user}") else {
            let pattern = self.prefixes.rule(text, limits).map_err(RuleError::Pattern)?;
            return Ok(Object::Fixed(pattern));
        };
        // Any name will do to see whether the rest is right.
        let sample = format!("{before}x{after}");
        let pattern = self.prefixes.rule(&sample, limits).map_err(RuleError::Pattern)?;
        let separator = pattern.dialect().separator();
        let is_segment = before.ends_with([separator, '/'])
            && (after.is_empty() || after.starts_with(separator));
        let has_wildcard = before.contains(['*', '?', '#', '>', '{']);
        if !is_segment || has_wildcard || after.contains("{user}") {
            return Err(RuleError::Placeholder);
        }
        Ok(Object::Own { before: before.into(), after: after.into() })
    }

    fn applies(
        &self,
        rule: &Rule,
        user: Option<&str>,
        destination: &str,
        pattern: Option<&Pattern>,
    ) -> bool {
        let own;
        let object = match (&rule.object, user) {
            (Object::Fixed(object), _) => object,
            (Object::Own { .. }, None) => return false,
            (Object::Own { before, after }, Some(user)) => {
                match self.own(before, user, after, destination, pattern.is_some()) {
                    Some(pattern) => own = pattern,
                    // A name that is no plain segment has nothing of its own.
                    None => return !rule.is_allow && pattern.is_some(),
                }
                &own
            }
        };
        match pattern {
            None => object.matches(destination),
            Some(asked) if rule.is_allow => object.covers(asked),
            Some(asked) => object.overlaps(asked),
        }
    }

    /// The rule's pattern for one user; none if the destination is another's anyway, or if the name
    /// would be more than one literal segment.
    fn own(
        &self,
        before: &str,
        user: &str,
        after: &str,
        destination: &str,
        is_pattern: bool,
    ) -> Option<Pattern> {
        if !is_pattern && !destination.starts_with(before) {
            return None;
        }
        let dialect = self.prefixes.find(before).and_then(|prefix| prefix.dialect);
        let separator = dialect.unwrap_or_default().separator();
        let mut name = String::with_capacity(user.len());
        for character in user.chars() {
            match character {
                '/' => name.push_str("%2F"),
                '.' if separator == '.' => name.push_str("%2E"),
                '*' | '?' | '#' | '>' | '{' | '}' => return None,
                other => name.push(other),
            }
        }
        if name.is_empty() {
            return None;
        }
        self.prefixes.rule(&format!("{before}{name}{after}"), &self.limits).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::destination::{classify, Profile};

    fn rules(profile: Profile, texts: &[&str]) -> Authorization {
        let mut rules = Authorization::new(Prefixes::of(profile), Limits::default());
        for text in texts {
            let (sign, text) = text.split_at(1);
            rules.add(sign == "+", text).unwrap();
        }
        rules
    }

    fn may(rules: &Authorization, user: &str, verb: Verb, destination: &str) -> bool {
        let user = (!user.is_empty()).then_some(user);
        let kind = classify(destination, &rules.prefixes, &Limits::default()).unwrap().kind;
        rules.check(user, verb, destination, kind).is_ok()
    }

    /// Catalogue: J12.
    #[test]
    fn the_first_rule_that_applies_decides() {
        let texts = [
            "+user:ops both /**",
            "-any both /topic/admin/**",
            "+authenticated both /topic/*",
            "-anonymous publish /topic/**",
            "-any both /queue/**",
        ];
        let rules = rules(Profile::Default, &texts);
        for (user, verb, destination, wanted) in [
            ("ops", Verb::Publish, "/topic/admin/x", true),
            ("bob", Verb::Publish, "/topic/admin/x", false),
            ("bob", Verb::Publish, "/topic/x", true),
            ("", Verb::Publish, "/topic/x", false),
            ("", Verb::Subscribe, "/topic/x", true),
            ("bob", Verb::Subscribe, "/queue/x", false),
            ("ops", Verb::Publish, "/user/bob/queue/x", true),
        ] {
            assert_eq!(may(&rules, user, verb, destination), wanted, "{user} {destination}");
        }
    }

    /// Catalogue: I12.
    #[test]
    fn a_pattern_never_reads_what_a_rule_hides() {
        let texts = ["-any subscribe /topic/secret", "+any subscribe /topic/**", "-any both /**"];
        let rules = rules(Profile::Default, &texts);
        for denied in ["/topic/**", "/topic/*", "/topic/s*", "/topic/?ecret", "/topic//sec*"] {
            assert!(!may(&rules, "bob", Verb::Subscribe, denied), "{denied}");
        }
        assert!(may(&rules, "bob", Verb::Subscribe, "/topic/a/**"));
        assert!(may(&rules, "bob", Verb::Subscribe, "/topic/other"));
        assert!(!may(&rules, "bob", Verb::Subscribe, "/queue/a"));
    }

    /// Catalogue: J08.
    #[test]
    fn the_placeholder_is_the_own_name_as_one_segment() {
        let rules =
            rules(Profile::Default, &["+any both /topic/of/{user}/**", "-any both /topic/**"]);
        for (user, destination, wanted) in [
            ("bob", "/topic/of/bob/x", true),
            ("bob", "/topic/of/bob/*", true),
            ("bob", "/topic/of/bobby/x", false),
            ("bob", "/topic/of/*/x", false),
            ("bob", "/topic/of/**", false),
            ("a/b", "/topic/of/a%2Fb/x", true),
            ("a/b", "/topic/of/a/b/x", false),
            ("*", "/topic/of/*/x", false),
            ("**", "/topic/of/bob/x", false),
            ("", "/topic/of//x", false),
        ] {
            let seen = may(&rules, user, Verb::Subscribe, destination);
            assert_eq!(seen, wanted, "{user} {destination}");
        }
    }

    /// Catalogue: J08.
    #[test]
    fn a_dot_in_a_name_does_not_reach_into_another_users_words() {
        let rules =
            rules(Profile::RabbitMq, &["+any both /topic/of.{user}.#", "-any both /topic/#"]);
        assert!(may(&rules, "a", Verb::Subscribe, "/topic/of.a.#"));
        assert!(may(&rules, "a.b", Verb::Subscribe, "/topic/of.a%2Eb.x"));
        assert!(!may(&rules, "a.b", Verb::Subscribe, "/topic/of.a.b.x"));
        assert!(!may(&rules, "a", Verb::Subscribe, "/topic/of.#"));
    }

    #[test]
    fn a_denied_placeholder_also_refuses_patterns_that_reach_it() {
        let rules = rules(Profile::Default, &["-any subscribe /topic/not/{user}/**"]);
        assert!(!may(&rules, "bob", Verb::Subscribe, "/topic/not/bob/x"));
        assert!(!may(&rules, "bob", Verb::Subscribe, "/topic/not//b*/x"));
        assert!(!may(&rules, "*", Verb::Subscribe, "/topic/not/**"));
        assert!(may(&rules, "bob", Verb::Subscribe, "/topic/not/eve/x"));
    }

    /// Catalogue: I13, J12.
    #[test]
    fn without_rules_other_users_and_services_are_closed() {
        let rules = rules(Profile::Default, &[]);
        for (verb, destination, wanted) in [
            (Verb::Publish, "/topic/a", true),
            (Verb::Subscribe, "/topic/**", true),
            (Verb::Publish, "/user/queue/x", true),
            (Verb::Publish, "/user/bob/queue/x", true),
            (Verb::Publish, "/user/eve/queue/x", false),
            (Verb::Subscribe, "/user/queue/x", true),
            (Verb::Subscribe, "/app/init", true),
            (Verb::Subscribe, "/app/**", false),
        ] {
            assert_eq!(may(&rules, "bob", verb, destination), wanted, "{destination}");
        }
        assert!(!may(&rules, "", Verb::Publish, "/user/bob/queue/x"));
    }

    #[test]
    fn bad_rules_are_named() {
        let mut rules = rules(Profile::Default, &[]);
        for (text, error) in [
            ("any publish", RuleError::Parts),
            ("any both /topic/a /topic/b", RuleError::Parts),
            ("bob publish /topic/a", RuleError::Who),
            ("user: publish /topic/a", RuleError::Who),
            ("any read /topic/a", RuleError::Verb),
            ("any both /topic/{user}x", RuleError::Placeholder),
            ("any both /topic/x{user}", RuleError::Placeholder),
            ("any both /topic/*/{user}", RuleError::Placeholder),
            ("any both /topic/{x", RuleError::Pattern(PatternError::Unsupported)),
        ] {
            assert_eq!(rules.add(true, text), Err(error), "{text}");
        }
    }

    #[test]
    fn all_of_a_prefix_is_written_alike_in_every_dialect() {
        for profile in [Profile::Default, Profile::Spring, Profile::RabbitMq, Profile::ActiveMq] {
            let texts = ["+user:ops both /**", "-any both /topic/**", "-any both /queue/**"];
            let rules = rules(profile, &texts);
            for destination in ["/topic/a", "/topic/a.b.c", "/queue/a"] {
                for verb in [Verb::Publish, Verb::Subscribe] {
                    assert!(may(&rules, "ops", verb, destination), "{profile:?} {destination}");
                    assert!(!may(&rules, "bob", verb, destination), "{profile:?} {destination}");
                }
            }
            for pattern in ["/topic/**", "/topic/#", "/topic/>", "/topic/*", "/topic/a.*"] {
                assert!(may(&rules, "ops", Verb::Subscribe, pattern), "{profile:?} {pattern}");
                assert!(!may(&rules, "bob", Verb::Subscribe, pattern), "{profile:?} {pattern}");
            }
            assert!(may(&rules, "bob", Verb::Publish, "/app/x"), "{profile:?}");
        }
    }

    #[test]
    fn wildcards_of_another_dialect_are_refused() {
        use Profile::{ActiveMq, Default, RabbitMq};
        for (profile, text) in [
            (Default, "/topic/secret/#"),
            (Default, "/topic/>"),
            (RabbitMq, "/topic/secret.**"),
            (RabbitMq, "/topic/secret*"),
            (RabbitMq, "/topic/>"),
            (ActiveMq, "/topic/secret.#"),
            (ActiveMq, "/topic/secret/**"),
            (ActiveMq, "/topic/?"),
        ] {
            let mut rules = rules(profile, &[]);
            let error = rules.add(false, &format!("any both {text}"));
            let is_foreign = matches!(error, Err(RuleError::Pattern(PatternError::Foreign { .. })));
            assert!(is_foreign, "{profile:?} {text}: {error:?}");
        }
        // A name with a slash, where names have none.
        let error = rules(RabbitMq, &[]).add(false, "any both /topic/secret/**");
        assert_eq!(error, Err(RuleError::Destination));
    }

    #[test]
    fn a_rule_that_could_never_apply_is_refused() {
        let of = |profile| Authorization::new(Prefixes::of(profile), Limits::default());
        let (mut plain, mut rabbit) = (of(Profile::Default), of(Profile::RabbitMq));
        for void in ["topic/secret/**", "/foo/**", "/topic", "/topic/", "/*/secret", "**"] {
            let rule = format!("any both {void}");
            assert_eq!(plain.add(false, &rule), Err(RuleError::Destination), "{void}");
            assert_eq!(rabbit.add(false, &rule), Err(RuleError::Destination), "{void}");
        }
        // A rule sees the canonical name: of an alias, never this one.
        for alias in ["/amq/queue/a", "/exchange/amq.topic/a", "bare"] {
            let rule = format!("any both {alias}");
            assert_eq!(rabbit.add(false, &rule), Err(RuleError::Destination), "{alias}");
        }
        for (rules, good) in [(&mut plain, "/**"), (&mut rabbit, "/exchange/amq.fanout")] {
            assert_eq!(rules.add(false, &format!(" user:bob  both {good} ")), Ok(()));
            assert_eq!(rules.user_names().collect::<Vec<_>>(), ["bob"]);
        }
    }
}
