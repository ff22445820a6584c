//! Which mapping serves which destination.
//!
//! A pattern is a destination whose segments are literal or `{name}`, a variable that takes one
//! segment. Of several that match, the one whose first difference is a literal wins.

use super::{AppError, Context, Message, Payload};
use std::cmp::Reverse;
use std::future::Future;
use std::pin::Pin;

/// The result of a mapping that runs on.
pub(crate) type Task<T = ()> = Pin<Box<dyn Future<Output = Result<T, AppError>>>>;
type Immediate = dyn Fn(&Context, &Message) -> Result<(), AppError> + Send + Sync;
type Deferred = dyn Fn(Context, Message) -> Task + Send + Sync;
type ImmediateSnapshot = dyn Fn(&Context) -> Result<Option<Payload>, AppError> + Send + Sync;
type DeferredSnapshot = dyn Fn(Context) -> Task<Option<Payload>> + Send + Sync;

/// What a SEND calls.
pub(crate) enum MessageMapping {
    /// Returns when all is done.
    Immediate(Box<Immediate>),
    /// Runs as a task of the shard.
    Deferred(Box<Deferred>),
}

/// What a SUBSCRIBE calls.
pub(crate) enum Snapshot {
    /// Returns what is delivered first.
    Immediate(Box<ImmediateSnapshot>),
    /// Runs as a task of the shard; what is published meanwhile waits for it.
    Deferred(Box<DeferredSnapshot>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
}

/// A destination with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template(Vec<Segment>);

/// Names and values of a template's variables.
pub(crate) type Params = Vec<(Box<str>, Box<str>)>;

impl Template {
    fn parse(text: &str, prefixes: &[&str]) -> Result<Template, String> {
        let wrong = |why: &str| Err(format!("seen mapping {text:?}: {why}"));
        if !prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            return wrong(&format!("it must start with {}", prefixes.join(" or ")));
        }
        let mut segments = Vec::new();
        for segment in text.split('/').skip(1) {
            let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            let inner = name.unwrap_or(segment);
            if inner.is_empty() || inner.contains(['{', '}', '*']) {
                return wrong("a segment is a text or {name}, not empty, without *");
            }
            let parsed = match name {
                Some(name) => Segment::Param(name.into()),
                None => Segment::Literal(segment.into()),
            };
            if name.is_some() && segments.contains(&parsed) {
                return wrong("each variable needs a name of its own");
            }
            segments.push(parsed);
        }
        Ok(Template(segments))
    }

    fn params(&self, destination: &str) -> Option<Params> {
        let mut params = Vec::new();
        let mut seen = destination.split('/').skip(1);
        for segment in &self.0 {
            match (segment, seen.next()?) {
                (Segment::Literal(wanted), text) if **wanted == *text => {}
                (Segment::Param(name), text) if !text.is_empty() => {
                    params.push((name.clone(), text.into()));
                }
                _ => return None,
            }
        }
        seen.next().is_none().then_some(params)
    }

    /// Templates are tried in this order.
    fn rank(&self) -> impl Ord + '_ {
        let is_param = |segment: &Segment| matches!(segment, Segment::Param(_));
        (Reverse(self.0.len()), self.0.iter().map(is_param).collect::<Vec<_>>())
    }

    fn is_same(&self, other: &Template) -> bool {
        let is_same = |(a, b): (&Segment, &Segment)| match (a, b) {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            (Segment::Param(_), Segment::Param(_)) => true,
            _ => false,
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_same)
    }
}

struct Table<T>(Vec<(Template, T)>);

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table(Vec::new())
    }
}

impl<T> Table<T> {
    fn add(&mut self, text: &str, prefixes: &[&str], mapping: T) -> Result<(), String> {
        let template = Template::parse(text, prefixes)?;
        if self.0.iter().any(|(other, _)| other.is_same(&template)) {
            return Err(format!("seen mapping {text:?} twice: give each its own destination"));
        }
        let place = self.0.partition_point(|(other, _)| other.rank() <= template.rank());
        self.0.insert(place, (template, mapping));
        Ok(())
    }

    fn find(&self, destination: &str) -> Option<(&T, Params)> {
        self.0.iter().find_map(|(template, it)| Some((it, template.params(destination)?)))
    }
}

/// All mappings of a server.
#[derive(Default)]
pub struct App {
    messages: Table<MessageMapping>,
    snapshots: Table<Snapshot>,
}

impl App {
    pub(crate) fn add_message(&mut self, text: &str, it: MessageMapping) -> Result<(), String> {
        self.messages.add(text, &["/app/"], it)
    }

    pub(crate) fn add_snapshot(&mut self, text: &str, it: Snapshot) -> Result<(), String> {
        self.snapshots.add(text, &["/app/", "/topic/"], it)
    }

    /// The message mapping of a destination, with its variables.
    pub(crate) fn message(&self, destination: &str) -> Option<(&MessageMapping, Params)> {
        self.messages.find(destination)
    }

    /// The subscribe mapping of a destination, with its variables.
    pub(crate) fn snapshot(&self, destination: &str) -> Option<(&Snapshot, Params)> {
        self.snapshots.find(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(table: &Table<u8>, destination: &str) -> Option<(u8, String)> {
        let (it, params) = table.find(destination)?;
        let shown: Vec<String> = params.iter().map(|(n, v)| format!("{n}={v}")).collect();
        Some((*it, shown.join(",")))
    }

    #[test]
    fn the_most_literal_wins_and_variables_take_one_segment() {
        let mut table = Table::default();
        for (text, it) in [("/app/{a}/{b}", 1), ("/app/x/{b}", 2), ("/app/{a}/y", 3), ("/app/x", 4)]
        {
            assert_eq!(table.add(text, &["/app/"], it), Ok(()));
        }
        let is = |it, params: &str| Some((it, params.to_owned()));
        assert_eq!(found(&table, "/app/x/y"), is(2, "b=y"));
        assert_eq!(found(&table, "/app/z/y"), is(3, "a=z"));
        assert_eq!(found(&table, "/app/z/ä:*"), is(1, "a=z,b=ä:*"));
        assert_eq!(found(&table, "/app/x"), is(4, ""));
        for none in ["/app/", "/app/z", "/app/x/", "/app/x/y/z", "/app//y"] {
            assert_eq!(found(&table, none), None, "{none}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let mut table = Table::default();
        assert_eq!(table.add("/app/{a}", &["/app/"], 0), Ok(()));
        for text in ["/topic/a", "/app/", "/app/{a}/{a}", "/app/a*", "/app/{a", "/app/{b}"] {
            let error = table.add(text, &["/app/"], 0).expect_err(text);
            assert!(error.contains(text), "{error}");
        }
    }
}
