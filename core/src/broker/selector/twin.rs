//! A naive twin of selectors, for tests and fuzzing: nothing but the standard library.
//!
//! A condition as a tree over the headers `a`, `b` and `c`, which prints itself as a selector and
//! evaluates itself by plain recursion.

#[derive(Clone, Debug)]
pub enum Number {
    Literal(i64),
    Header(&'static str),
    Sum(Box<Number>, char, Box<Number>),
}

#[derive(Clone, Debug)]
pub enum Tree {
    Compare(Number, &'static str, Number),
    Equals(&'static str, String),
    Between(Number, Number, Number),
    In(&'static str, Vec<String>),
    Like(&'static str, String),
    IsNull(&'static str),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

impl Number {
    fn print(&self) -> String {
        match self {
            Number::Literal(number) => number.to_string(),
            Number::Header(name) => (*name).to_string(),
            Number::Sum(a, op, b) => format!("({} {op} {})", a.print(), b.print()),
        }
    }

    fn value(&self, headers: &[Option<String>; 3]) -> Option<i64> {
        match self {
            Number::Literal(number) => Some(*number),
            Number::Header(name) => header(headers, name)?.parse().ok(),
            Number::Sum(a, op, b) => {
                let (a, b) = (a.value(headers)?, b.value(headers)?);
                match op {
                    '+' => Some(a + b),
                    '-' => Some(a - b),
                    '*' => Some(a * b),
                    '/' => a.checked_div(b),
                    _ => a.checked_rem(b),
                }
            }
        }
    }

    /// Is it a header whose text is no number? Then comparing is FALSE, not unknown.
    fn is_text(&self, headers: &[Option<String>; 3]) -> bool {
        matches!(self, Number::Header(name)
            if header(headers, name).is_some_and(|text| text.parse::<i64>().is_err()))
    }
}

pub fn header<'a>(headers: &'a [Option<String>; 3], name: &str) -> Option<&'a str> {
    let index = ["a", "b", "c"].iter().position(|seen| *seen == name)?;
    headers[index].as_deref()
}

fn naive_compare(a: &Number, op: &str, b: &Number, headers: &[Option<String>; 3]) -> Option<bool> {
    if let (Number::Header(a), Number::Header(b)) = (a, b) {
        let (a, b) = (header(headers, a)?, header(headers, b)?);
        return Some(holds(a.cmp(b), op));
    }
    if a.is_text(headers) || b.is_text(headers) {
        let other = if a.is_text(headers) { b } else { a };
        other.value(headers)?;
        return Some(op == "<>");
    }
    Some(holds(a.value(headers)?.cmp(&b.value(headers)?), op))
}

fn holds(order: std::cmp::Ordering, op: &str) -> bool {
    match op {
        "=" => order.is_eq(),
        "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn naive_like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'%', rest @ ..] => (0..=text.len()).any(|from| naive_like(rest, &text[from..])),
        [b'_', rest @ ..] => !text.is_empty() && naive_like(rest, &text[1..]),
        [first, rest @ ..] => text.first() == Some(first) && naive_like(rest, &text[1..]),
    }
}

impl Tree {
    pub fn print(&self) -> String {
        let quote = |text: &String| format!("'{}'", text.replace('\'', "''"));
        match self {
            Tree::Compare(a, op, b) => format!("{} {op} {}", a.print(), b.print()),
            Tree::Equals(name, text) => format!("{name} = {}", quote(text)),
            Tree::Between(a, low, high) => {
                format!("{} BETWEEN {} AND {}", a.print(), low.print(), high.print())
            }
            Tree::In(name, list) => {
                let list: Vec<String> = list.iter().map(quote).collect();
                format!("{name} IN ({})", list.join(", "))
            }
            Tree::Like(name, pattern) => format!("{name} LIKE {}", quote(pattern)),
            Tree::IsNull(name) => format!("{name} IS NULL"),
            Tree::Not(inner) => format!("NOT ({})", inner.print()),
            Tree::And(a, b) => format!("({}) AND ({})", a.print(), b.print()),
            Tree::Or(a, b) => format!("({}) OR ({})", a.print(), b.print()),
        }
    }

    pub fn value(&self, headers: &[Option<String>; 3]) -> Option<bool> {
        let and = |a: Option<bool>, b: Option<bool>| match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        match self {
            Tree::Compare(a, op, b) => naive_compare(a, op, b, headers),
            Tree::Equals(name, text) => Some(header(headers, name)? == text),
            Tree::Between(a, low, high) => {
                let above = naive_compare(a, ">=", low, headers);
                and(above, naive_compare(a, "<=", high, headers))
            }
            Tree::In(name, list) => {
                let value = header(headers, name)?;
                Some(list.iter().any(|text| text == value))
            }
            Tree::Like(name, pattern) => {
                Some(naive_like(pattern.as_bytes(), header(headers, name)?.as_bytes()))
            }
            Tree::IsNull(name) => Some(header(headers, name).is_none()),
            Tree::Not(inner) => inner.value(headers).map(|truth| !truth),
            Tree::And(a, b) => and(a.value(headers), b.value(headers)),
            Tree::Or(a, b) => {
                let not = |tree: &Tree| tree.value(headers).map(|truth| !truth);
                and(not(a), not(b)).map(|neither| !neither)
            }
        }
    }
}
