//! `--destinations`: how many, or which by name: a list of names with a range in each at most.
//!
//! `/topic/a,/topic/b{1..50}` are 51 names, `/topic/t{001..100}` a hundred with three digits each.
//! The names are made when they are needed: a list of a million costs what its text costs.

/// Most destinations of a run.
const COUNT_MAX: u64 = 10_000_000;

/// What the option says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destinations {
    /// So many, named by the run: `--destination` and a number.
    Count(u32),
    /// These.
    Names(Names),
}

/// A list of names, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<Part>);

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    before: String,
    after: String,
    range: Option<Range>,
    /// Names up to and with this entry.
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    /// How many numbers.
    length: u64,
    /// Least number of digits.
    width: usize,
}

impl Destinations {
    /// Reads a number such as `100k`, or names.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Destinations, String> {
        if text.contains('/') {
            return Names::parse(text).map(Destinations::Names);
        }
        crate::options::count(text).map(Destinations::Count).map_err(|_| form(text))
    }
}

fn form(text: &str) -> String {
    format!("seen `{text}`; write a number, or names such as /topic/a,/topic/b{{1..50}}")
}

impl Names {
    fn parse(text: &str) -> Result<Names, String> {
        let (mut parts, mut count) = (Vec::new(), 0_u64);
        for entry in text.split(',') {
            let (before, range, after) = split(entry).ok_or_else(|| form(entry))?;
            count += range.map_or(1, |range| range.length);
            if count > COUNT_MAX || before.is_empty() {
                return Err(format!("seen `{entry}`, at most {COUNT_MAX} names: write fewer"));
            }
            parts.push(Part {
                before: before.into(),
                after: after.into(),
                range,
                end: count as u32,
            });
        }
        Ok(Names(parts))
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.last().map_or(0, |part| part.end)
    }

    /// Name `number`, below [`Names::count`].
    pub fn name(&self, number: u32) -> String {
        let at = self.0.partition_point(|part| part.end <= number).min(self.0.len() - 1);
        let Part { before, after, range, .. } = &self.0[at];
        let Some(Range { first, width, .. }) = range else { return format!("{before}{after}") };
        let begin = at.checked_sub(1).map_or(0, |previous| self.0[previous].end);
        let value = first + u64::from(number.saturating_sub(begin));
        format!("{before}{value:0width$}{after}")
    }
}

/// `before{first..last}after`: the range with its length, if there is one.
fn split(entry: &str) -> Option<(&str, Option<Range>, &str)> {
    let Some((before, rest)) = entry.split_once('{') else {
        return (!entry.is_empty() && !entry.contains('}')).then_some((entry, None, ""));
    };
    let (range, after) = rest.split_once('}')?;
    let (first, last) = range.split_once("..")?;
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    let is_one = !after.contains(['{', '}']);
    is_one.then_some((before, Some(Range { first, length, width }), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Names {
        match Destinations::parse(text) {
            Ok(Destinations::Names(names)) => names,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_and_ranges_are_names_in_order() {
        let list = names("/topic/a,/topic/b{9..11}.x,/topic/c{08..10}");
        let all: Vec<String> = (0..list.count()).map(|number| list.name(number)).collect();
        let wanted = ["/topic/a", "/topic/b9.x", "/topic/b10.x", "/topic/b11.x", "/topic/c08"];
        assert_eq!(all[..5], wanted);
        assert_eq!(all[5..], ["/topic/c09", "/topic/c10"]);
        let many = names("/topic/t{1..100000}");
        assert_eq!((many.count(), many.name(99_999).as_str()), (100_000, "/topic/t100000"));
    }

    #[test]
    fn a_number_is_a_count() {
        assert_eq!(Destinations::parse("100k"), Ok(Destinations::Count(100_000)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "",
            "x",
            "/a,",
            "/a{1..}",
            "/a{2..1}",
            "/a{1..2",
            "/a}",
            "/a{1..2}{1..2}",
            "/a{1-2}",
            "/a{0..99999999999}",
            "/a{0..18446744073709551615}",
        ] {
            assert!(Destinations::parse(text).is_err(), "{text}");
        }
    }
}
