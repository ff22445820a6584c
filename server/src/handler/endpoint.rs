//! Endpoints: which handler serves which path.
//!
//! A pattern is a path whose segments are literal or `{name}`, a parameter that takes one segment:
//! `/rooms/{room}`. It is matched as a prefix, and what follows selects the transport: nothing or
//! `/websocket` is raw WebSocket, the rest is SockJS. Where several patterns match, the one with
//! more segments wins, then the one whose first difference is a literal.
//!
//! Literals are compared as they are sent; values of parameters are percent-decoded once, and a
//! path whose value would be no UTF-8, `..` or have a control character in it matches nothing. Two
//! paths of one pattern share the handler, but no SockJS session: its name is one below its path.

use super::{Handler, SockJsOptions};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;
use stompede_core::http::request::normalized_path;

/// The path that is STOMP's.
const RESERVED: &str = "/ws";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
}

/// A parsed path pattern.
#[derive(Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
}

impl Pattern {
    /// Reads a pattern, such as `/rooms/{room}`.
    ///
    /// # Errors
    /// What was seen and what is allowed.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let wrong = |why: &str| Err(format!("seen endpoint {text:?}: {why}"));
        let Some(path) = text.strip_prefix('/') else {
            return wrong("a path starts with /");
        };
        if text == RESERVED {
            return wrong("the path is STOMP's, take another one");
        }
        let mut segments = Vec::new();
        for segment in path.split('/') {
            let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            let text = name.unwrap_or(segment);
            if text.is_empty() || text.contains(['{', '}', '?', '#', '%']) {
                return wrong("a segment is a text or {name}, not empty, without ? # %");
            }
            let parsed = match name {
                Some(name) => Segment::Param(name.into()),
                None => Segment::Literal(segment.into()),
            };
            if name.is_some() && segments.contains(&parsed) {
                return wrong("each parameter needs a name of its own");
            }
            segments.push(parsed);
        }
        Ok(Pattern { segments })
    }

    /// Matches the start of a percent-encoded path; gives what follows, which is empty or starts
    /// with `/`.
    pub fn match_prefix<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut rest = path;
        for segment in &self.segments {
            let (seen, after) = first_segment(rest)?;
            let is_match = match segment {
                Segment::Literal(literal) => seen == &**literal,
                Segment::Param(_) => !seen.is_empty() && decode(seen).is_some(),
            };
            if !is_match {
                return None;
            }
            rest = after;
        }
        Some(rest)
    }

    /// The decoded value of the parameter `name` in a path that this pattern matches.
    pub(crate) fn param<'p>(&self, name: &str, path: &'p str) -> Option<Cow<'p, str>> {
        let is_named = |segment: &Segment| matches!(segment, Segment::Param(n) if &**n == name);
        let index = self.segments.iter().position(is_named)?;
        decode(path.split('/').nth(index + 1)?)
    }

    /// Patterns are tried in this order.
    fn rank(&self) -> impl Ord + '_ {
        let is_param = |segment: &Segment| matches!(segment, Segment::Param(_));
        (Reverse(self.segments.len()), self.segments.iter().map(is_param).collect::<Vec<_>>())
    }

    /// Do both match the same paths?
    fn is_same(&self, other: &Pattern) -> bool {
        let is_same = |(a, b): (&Segment, &Segment)| match (a, b) {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            (Segment::Param(_), Segment::Param(_)) => true,
            _ => false,
        };
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(is_same)
    }
}

fn first_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

/// A segment without its percent-encoding; none if it cannot be decoded or leads upwards.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    let mut decoded = normalized_path(&format!("/{segment}"))?;
    if decoded[1..] == *segment {
        return Some(Cow::Borrowed(segment));
    }
    decoded.remove(0);
    Some(Cow::Owned(decoded))
}

type Factory = Box<dyn Fn(usize) -> Box<dyn Handler> + Send + Sync>;

/// One endpoint.
struct Endpoint {
    pattern: Arc<Pattern>,
    factory: Factory,
    /// How it speaks SockJS, if that is of its own.
    sockjs: Option<SockJsOptions>,
}

/// All endpoints of a server, most specific first.
#[derive(Default)]
pub struct Endpoints {
    endpoints: Vec<Endpoint>,
}

impl Endpoints {
    /// Adds an endpoint. `factory` makes the handler of the shard with the given index, on that
    /// shard's thread. `sockjs` is how it speaks SockJS (its prefix is not used), if not as the
    /// `--sockjs-...` options say.
    ///
    /// # Errors
    /// A pattern that cannot be read or is taken.
    pub fn add<H, F>(
        &mut self,
        pattern: &str,
        sockjs: Option<SockJsOptions>,
        factory: F,
    ) -> Result<(), String>
    where
        H: Handler + 'static,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        let parsed = Arc::new(Pattern::parse(pattern)?);
        if self.endpoints.iter().any(|other| other.pattern.is_same(&parsed)) {
            return Err(format!("seen endpoint {pattern:?} twice: give each its own path"));
        }
        let factory: Factory = Box::new(move |shard| Box::new(factory(shard)));
        let place = self.endpoints.partition_point(|other| other.pattern.rank() <= parsed.rank());
        self.endpoints.insert(place, Endpoint { pattern: parsed, factory, sockjs });
        Ok(())
    }

    /// The endpoint for a percent-encoded path: its index, its pattern, and what follows the part
    /// that the pattern matched.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<(usize, &Arc<Pattern>, &'p str)> {
        let mut all = self.endpoints.iter().enumerate();
        all.find_map(|(index, endpoint)| {
            Some((index, &endpoint.pattern, endpoint.pattern.match_prefix(path)?))
        })
    }

    /// How each endpoint speaks SockJS, if that is of its own.
    pub(crate) fn sockjs_options(&self) -> impl Iterator<Item = Option<&SockJsOptions>> {
        self.endpoints.iter().map(|endpoint| endpoint.sockjs.as_ref())
    }

    /// The handlers of one shard, by index of the endpoint.
    pub(crate) fn make_handlers(&self, shard: usize) -> Vec<Option<Box<dyn Handler>>> {
        self.endpoints.iter().map(|endpoint| Some((endpoint.factory)(shard))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Session};
    use super::*;

    struct Nothing;

    impl Handler for Nothing {
        fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) {}
    }

    #[test]
    fn a_pattern_matches_a_prefix_of_whole_segments() {
        let pattern = Pattern::parse("/rooms/{room}").unwrap();
        for (path, rest) in [
            ("/rooms/a", Some("")),
            ("/rooms/a/", Some("/")),
            ("/rooms/a/websocket", Some("/websocket")),
            ("/rooms/a%20b/000/x/xhr", Some("/000/x/xhr")),
            ("/rooms/", None),
            ("/rooms", None),
            ("/roomsa/b", None),
            ("/rooms/..", None),
            ("/rooms/%2e%2e", None),
            ("/rooms/%zz", None),
            ("/rooms/%ff", None),
            ("*", None),
        ] {
            assert_eq!(pattern.match_prefix(path), rest, "{path}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let pattern = Pattern::parse("/{a}/x/{b}").unwrap();
        let path = "/one/x/t%C3%BCr%2F2";
        assert_eq!(pattern.param("a", path).as_deref(), Some("one"));
        assert_eq!(pattern.param("b", path).as_deref(), Some("tür/2"));
        assert_eq!(pattern.param("x", path), None);
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        for text in ["", "/", "a", "/a/", "/a//b", "/{}", "/{a", "/a{b}", "/{a}/{a}", "/ws", "/a?b"]
        {
            assert!(Pattern::parse(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn the_most_specific_endpoint_wins() {
        let mut endpoints = Endpoints::default();
        for text in ["/a", "/{x}/b", "/a/{x}", "/a/{x}/c", "/{x}"] {
            endpoints.add(text, None, |_| Nothing).unwrap();
        }
        let find = |path| {
            let (_, pattern, rest) = endpoints.find(path)?;
            Some((pattern.segments.len(), rest, pattern.param("x", path)?.into_owned()))
        };
        assert_eq!(find("/a/b"), Some((2, "", "b".to_owned())));
        assert_eq!(find("/z/b/r"), Some((2, "/r", "z".to_owned())));
        assert_eq!(find("/a/b/c"), Some((3, "", "b".to_owned())));
        assert_eq!(find("/z"), Some((1, "", "z".to_owned())));
        assert_eq!(endpoints.find("/a").map(|found| found.2), Some(""));
        assert!(endpoints.find("/").is_none());
        assert!(endpoints.add("/a/{other}", None, |_| Nothing).unwrap_err().contains("twice"));
    }
}
