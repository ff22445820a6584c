//! A naive twin of Ant patterns, for tests and fuzzing: nothing but the standard library.

/// The twin: plain recursion over the definition.
pub fn naive(pattern: &str, destination: &str) -> bool {
    fn characters(glob: &[char], text: &[char]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => characters(rest, text),
            (Some(('*', rest)), Some((_, tail))) => {
                characters(rest, text) || characters(glob, tail)
            }
            (Some(('?', rest)), Some((_, tail))) => characters(rest, tail),
            (Some((a, rest)), Some((b, tail))) => a == b && characters(rest, tail),
            _ => false,
        }
    }
    fn segments(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), None) => segments(rest, path),
            (Some((&"**", rest)), Some((_, tail))) => {
                segments(rest, path) || segments(pattern, tail)
            }
            (Some((glob, rest)), Some((segment, tail))) => {
                let (glob, segment): (Vec<_>, Vec<_>) =
                    (glob.chars().collect(), segment.chars().collect());
                characters(&glob, &segment) && segments(rest, tail)
            }
            _ => false,
        }
    }
    let split = |text: &'_ str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (globs, path) = (split(pattern), split(destination));
    let globs: Vec<&str> = globs.iter().map(String::as_str).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    pattern.starts_with('/') == destination.starts_with('/')
        && (globs.last() == Some(&"**") || pattern.ends_with('/') == destination.ends_with('/'))
        && segments(&globs, &path)
}
