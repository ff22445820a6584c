//! The three places that options come from, and the order of their strength.
//!
//! clap knows the flags only by name and hands over strings; the environment and the file are
//! turned into the same strings. One loop over the table then applies the strongest and checks
//! the others against a configuration that is thrown away.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::error::Origin;
use super::options::{self, Opt};
use super::{value, Config, ConfigError, Invocation};

const ENV_PREFIX: &str = "STOMPEDE_";

/// Flags that are short for `--rule`, with their name in front of the value.
const SHORT_RULES: [&str; 2] = ["allow", "deny"];

/// What a newcomer needs, before the long list.
const FIRST: &str = "\
For a start:
  stompede                                    serve on 127.0.0.1, with a demo page
  stompede --listen 0.0.0.0:8080 --users-file users.txt
                                              serve others; a line of users.txt: stompede passwd ann
  stompede --history '/topic/**,100,5m'       keep what clients may have missed
  stompede --profile rabbitmq                 names and errors as another broker has them
  stompede config show > stompede.toml        every option, as a file for --config
";

/// Flags of other servers, and what does it here.
const ELSEWHERE: [(&str, &str); 13] = [
    ("port", "--listen IP:PORT"),
    ("host", "--listen IP:PORT"),
    ("bind", "--listen IP:PORT"),
    ("address", "--listen IP:PORT"),
    ("threads", "--shards COUNT"),
    ("workers", "--shards COUNT"),
    ("cors", "--allowed-origin ORIGIN"),
    ("password", "--user NAME:PASSWORD or --users-file FILE"),
    ("verbose", "--log-level debug"),
    ("debug", "--log-level debug"),
    ("metrics", "--admin-listen IP:PORT"),
    ("tls", "a proxy in front that ends TLS: there is none in here"),
    ("cert", "a proxy in front that ends TLS: there is none in here"),
];

/// Values by option name, as written.
type Values = BTreeMap<&'static str, Vec<String>>;

/// See [`super::parse`].
pub(super) fn parse(
    args: impl Iterator<Item = OsString>,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Invocation, ConfigError> {
    let args: Vec<OsString> = args.collect();
    let matches = match command().try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) => return stopped(&error, &args),
    };
    let (path, last) = deepest(&matches);
    if path == ["passwd"] {
        let name = last.get_one::<String>("name").cloned().unwrap_or_default();
        return passwd(name);
    }
    let flags = from_flags(last);
    let env = from_env(env)?;
    let file = flags.get("config").or_else(|| env.get("config")).and_then(|paths| paths.last());
    let mut sources = Vec::new();
    if let Some(file) = file {
        let path = PathBuf::from(file);
        sources.push((Origin::File(path.clone()), from_file(&path)?));
    }
    sources.extend([(Origin::Environment, env), (Origin::Flag, flags)]);
    let config = resolve(&sources)?;
    Ok(match path[..] {
        [] => Invocation::Serve(config),
        ["demo"] => Invocation::Serve(Config { test_services: true, ..config }),
        ["probe"] => Invocation::Probe(config),
        ["config", "show"] => Invocation::ConfigShow(config),
        _ => {
            crate::auth::Authenticator::from_config(&config).map_err(ConfigError::Conflict)?;
            Invocation::ConfigCheck
        }
    })
}

/// See [`super::parse_file`].
pub(super) fn parse_file(path: &Path, text: &str) -> Result<Config, ConfigError> {
    resolve(&[(Origin::File(path.to_owned()), from_text(path, text)?)])
}

/// The commands besides serving, without the options that all of them take.
fn commands() -> [Command; 4] {
    let config = Command::new("config")
        .about("Check or show the configuration")
        .subcommand_required(true)
        .subcommand(Command::new("check").about("Say what is wrong with it, users file included"))
        .subcommand(Command::new("show").about("Print it as TOML, passwords left out"));
    let name = Arg::new("name").value_name("NAME").required(true).help("Name of the user");
    let passwd = Command::new("passwd")
        .about("Read a password from standard input and print its line for users-file")
        .arg(name);
    let demo = Command::new("demo").about("Serve, with the test services");
    let probe = Command::new("probe").about("Say what this machine allows, and why not more");
    [demo, probe, config, passwd]
}

/// The clap command, made from the table.
pub(super) fn command() -> Command {
    Command::new("stompede")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Push server for WebSocket and STOMP clients; without a command it serves")
        .before_help(FIRST)
        .args(options::subjects().flat_map(|(subject, rows)| {
            rows.iter().map(move |option| arg(option).help_heading(subject))
        }))
        .args(SHORT_RULES.iter().map(|kind| {
            let help = format!("A rule that begins with '{kind}', in its place among the rules");
            let arg = Arg::new(*kind).long(*kind).help(help).global(true);
            let heading = options::subjects().next().map(|(subject, _)| subject);
            let arg = arg.help_heading(heading);
            arg.action(ArgAction::Append).value_name("WHO VERB DESTINATION")
        }))
        .subcommands(commands())
}

/// The help of a command without the options of the server; none if `args` name no command.
fn help_of_command(args: &[OsString]) -> Option<String> {
    let (mut path, mut last) = ("stompede".to_owned(), None);
    let mut known = commands().to_vec();
    for word in args.iter().filter_map(|word| word.to_str()) {
        if let Some(found) = known.iter().find(|command| command.get_name() == word).cloned() {
            path = format!("{path} {word}");
            known = found.get_subcommands().cloned().collect();
            last = Some(found);
        }
    }
    let command = last?;
    let takes_options = command.get_name() != "passwd";
    let note = "It takes the options of the server as well: stompede --help lists them.";
    let command = if takes_options { command.after_help(note) } else { command };
    Some(command.bin_name(path).render_help().to_string())
}

fn arg(option: &'static Opt) -> Arg {
    let default = match option.default {
        "" => String::new(),
        default => format!(", default: {default}"),
    };
    let again =
        if option.repeatable { ", repeatable: flags, then environment, then file" } else { "" };
    let help = format!("{} [{}{default}{again}]", option.doc, option.env());
    let arg = Arg::new(option.name).long(option.name).help(help).global(true);
    match (option.is_switch(), option.repeatable) {
        (true, _) => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false"),
        (_, true) => arg.action(ArgAction::Append).value_name(option.value),
        _ => arg.action(ArgAction::Set).value_name(option.value),
    }
}

/// clap ends the parse for help and version as well as for mistakes.
fn stopped(error: &clap::Error, args: &[OsString]) -> Result<Invocation, ConfigError> {
    use clap::error::ErrorKind;
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp => Ok(Invocation::PrintHelp(help_of_command(args).unwrap_or(text))),
        ErrorKind::DisplayVersion => Ok(Invocation::Version),
        _ => {
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let hint = switch_hint(args).or_else(|| flag_hint(error)).or_else(|| word_hint(error));
            let hint = hint.unwrap_or_default();
            Err(ConfigError::Usage(format!("{}{hint}", text.trim_end())))
        }
    }
}

/// The value of a switch stands behind `=`, for a word of its own would be a sub-command.
fn switch_hint(args: &[OsString]) -> Option<String> {
    args.windows(2).find_map(|pair| {
        let (flag, value) = (pair[0].to_str()?, pair[1].to_str()?);
        options::find(flag.strip_prefix("--")?).filter(|option| option.is_switch())?;
        value::switch(value).ok()?;
        Some(format!("\n\nwrite {flag}={value}"))
    })
}

/// For a flag that is called otherwise here.
fn flag_hint(error: &clap::Error) -> Option<String> {
    let seen = invalid_word(error, ContextKind::InvalidArg)?;
    let name = seen.trim_start_matches('-').split('=').next().unwrap_or_default();
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == name);
    if let Some((_, here)) = elsewhere {
        return Some(format!("\n\nfor that there is {here}"));
    }
    if error.get(ContextKind::SuggestedArg).is_some() {
        return None;
    }
    let is_part = |option: &&Opt| name.len() > 2 && option.name.split('-').any(|part| part == name);
    let near: Vec<String> =
        options::all().filter(is_part).take(6).map(|option| format!("--{}", option.name)).collect();
    (!near.is_empty()).then(|| format!("\n\nthere are {}", near.join(", ")))
}

/// For a word that is no command.
fn word_hint(error: &clap::Error) -> Option<String> {
    invalid_word(error, ContextKind::InvalidSubcommand)?;
    let names: Vec<String> =
        commands().iter().map(|command| command.get_name().to_owned()).collect();
    Some(format!("\n\nwithout a command stompede serves; commands are {}", names.join(", ")))
}

fn invalid_word(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(word) => Some(word),
        _ => None,
    }
}

/// The sub-commands given and the matches of the last one, where global flags are complete.
fn deepest(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, inner)) = last.subcommand() {
        path.push(name);
        last = inner;
    }
    (path, last)
}

fn passwd(name: String) -> Result<Invocation, ConfigError> {
    if name.is_empty() || name.starts_with('#') || name.contains([':', '\n', '\r']) {
        return Err(ConfigError::Usage(format!(
            "seen user name {name:?}; allowed is a name without colon that does not start with #"
        )));
    }
    Ok(Invocation::Passwd { name })
}

fn from_flags(matches: &ArgMatches) -> Values {
    let given = |option: &Opt| matches.get_many::<String>(option.name);
    let mut values: Values = options::all()
        .filter_map(|option| Some((option.name, given(option)?.cloned().collect())))
        .collect();
    let rules = rules(matches);
    if !rules.is_empty() {
        values.insert("rule", rules);
    }
    values
}

/// The rules of all three flags, in the order of the command line: it decides.
fn rules(matches: &ArgMatches) -> Vec<String> {
    let mut rules = Vec::new();
    for name in ["rule"].into_iter().chain(SHORT_RULES) {
        let places = matches.indices_of(name).into_iter().flatten();
        let texts = matches.get_many::<String>(name).into_iter().flatten();
        rules.extend(places.zip(texts).map(|(place, text)| match name {
            "rule" => (place, text.clone()),
            kind => (place, format!("{kind} {text}")),
        }));
    }
    rules.sort_unstable();
    rules.into_iter().map(|(_, text)| text).collect()
}

fn from_env(env: impl Iterator<Item = (String, String)>) -> Result<Values, ConfigError> {
    let mut values = Values::new();
    for (variable, text) in env {
        let Some(name) = variable.strip_prefix(ENV_PREFIX) else { continue };
        let option = options::all().find(|option| option.env() == variable).ok_or_else(|| {
            if is_short_rule(name) {
                return no_rule(Origin::Environment, &variable, &text, "STOMPEDE_RULE");
            }
            let hint = hint(name).and_then(options::find).map(Opt::env);
            ConfigError::Unknown { origin: Origin::Environment, seen: variable.clone(), hint }
        })?;
        let texts = match option.repeatable {
            true => split(option, &text),
            false => vec![text],
        };
        values.insert(option.name, texts);
    }
    Ok(values)
}

/// The values of a list in the environment; separators at its end are no value.
fn split(option: &Opt, text: &str) -> Vec<String> {
    let is_end = |c: char| c.is_whitespace() || option.separators.contains(&c);
    let values = text.trim_end_matches(is_end).split(option.separators);
    values.map(|text| text.trim().to_owned()).collect()
}

fn is_short_rule(name: &str) -> bool {
    SHORT_RULES.iter().any(|kind| kind.eq_ignore_ascii_case(name))
}

/// `allow` and `deny` are flags alone: elsewhere their order would be lost.
fn no_rule(origin: Origin, name: &str, seen: &str, rule: &str) -> ConfigError {
    let kind = if name.to_ascii_lowercase().ends_with("deny") { "deny" } else { "allow" };
    let allowed = format!("use {rule}, each rule a '{kind} WHO VERB DESTINATION'");
    ConfigError::Invalid { origin, option: name.to_owned(), seen: seen.to_owned(), allowed }
}

fn from_file(path: &Path) -> Result<Values, ConfigError> {
    let bad = |why: String| ConfigError::File { path: path.to_owned(), why };
    from_text(path, &std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?)
}

/// The file at `path` says `text`.
fn from_text(path: &Path, text: &str) -> Result<Values, ConfigError> {
    let bad = |why: String| ConfigError::File { path: path.to_owned(), why };
    let table = text.parse::<toml::Table>().map_err(|error| bad(error.to_string()))?;
    let origin = Origin::File(path.to_owned());
    let mut values = Values::new();
    for (key, seen) in table {
        let Some(option) = options::find(&key).filter(|option| option.name != "config") else {
            if is_short_rule(&key) {
                return Err(no_rule(origin, &key, &seen.to_string(), "rule = [...]"));
            }
            let hint = hint(&key).filter(|name| *name != "config").map(str::to_owned);
            return Err(ConfigError::Unknown { origin, seen: key, hint });
        };
        let texts = texts(option, &seen).ok_or_else(|| {
            let allowed = match option.repeatable {
                true => "allowed is a string or an array of strings",
                false => "allowed is one string, number or boolean",
            };
            invalid(&origin, option, seen.type_str(), allowed.to_owned())
        })?;
        if values.insert(option.name, texts).is_some() {
            return Err(bad(format!("{} is there with dashes and with underscores", option.name)));
        }
    }
    Ok(values)
}

fn texts(option: &Opt, seen: &toml::Value) -> Option<Vec<String>> {
    match seen {
        toml::Value::Array(items) if option.repeatable => items.iter().map(scalar).collect(),
        other => scalar(other).map(|text| vec![text]),
    }
}

fn scalar(seen: &toml::Value) -> Option<String> {
    match seen {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(on.to_string()),
        _ => None,
    }
}

/// Applies, for each option, the last source that has it; weakest first. Of a list, all that have
/// it, the strongest first: of rules the first that fits decides.
fn resolve(sources: &[(Origin, Values)]) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    for option in options::all() {
        let mut givers =
            sources.iter().filter_map(|(origin, all)| Some((origin, all.get(option.name)?)));
        if option.repeatable {
            for (origin, texts) in givers.rev() {
                apply(option, origin, texts, &mut config)?;
            }
            continue;
        }
        let Some((strongest, texts)) = givers.next_back() else { continue };
        for (weaker, texts) in givers {
            apply(option, weaker, texts, &mut Config::default())?;
        }
        apply(option, strongest, texts, &mut config)?;
    }
    config.settle()?;
    Ok(config)
}

fn apply(
    option: &Opt,
    origin: &Origin,
    texts: &[String],
    config: &mut Config,
) -> Result<(), ConfigError> {
    for text in texts {
        // Values of a list are kept and shown one a line.
        let applied = if option.repeatable && text.contains(['\r', '\n']) {
            Err("seen a line end in it; write each value by itself".to_owned())
        } else {
            (option.apply)(config, text)
        };
        applied.map_err(|allowed| invalid(origin, option, text, allowed))?;
    }
    Ok(())
}

fn invalid(origin: &Origin, option: &Opt, seen: &str, allowed: String) -> ConfigError {
    let name = match origin {
        Origin::File(_) => option.name.to_owned(),
        Origin::Environment => option.env(),
        Origin::Flag => format!("--{}", option.name),
    };
    let seen = if option.secret { "***" } else { seen }.to_owned();
    ConfigError::Invalid { origin: origin.clone(), option: name, seen, allowed }
}

fn hint(seen: &str) -> Option<&'static str> {
    let seen = seen.to_ascii_lowercase().replace('_', "-");
    value::nearest(&seen, options::all().map(|option| option.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
        let args = std::iter::once("stompede").chain(args.iter().copied()).map(OsString::from);
        parse(args, env.iter().map(|(name, text)| (name.to_string(), text.to_string())))
    }

    fn serve(args: &[&str], env: &[(&str, &str)]) -> Config {
        match run(args, env) {
            Ok(Invocation::Serve(config)) => config,
            other => panic!("{other:?}"),
        }
    }

    fn fails(args: &[&str], env: &[(&str, &str)]) -> String {
        run(args, env).expect_err("must be refused").to_string()
    }

    /// A file that is removed at the end of the test.
    struct File(PathBuf);

    impl File {
        fn new(text: &str) -> File {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let id = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(format!("stompede-{}-{}.toml", id.0, id.1));
            std::fs::write(&path, text).expect("a file in the temporary directory");
            File(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().expect("a path of ours")
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(serve(&[], &[("PATH", "/bin")]), Config::default());
    }

    #[test]
    fn flags_beat_the_environment_beats_the_file() {
        let file = File::new("drain-rate = 1\nshards = 2\nstall_deadline = \"3s\"\n");
        let env = [("STOMPEDE_DRAIN_RATE", "10"), ("STOMPEDE_SHARDS", "20")];
        let config = serve(&["--config", file.path(), "--drain-rate", "100"], &env);
        assert_eq!((config.drain_rate, config.shards), (100, 20));
        assert_eq!(config.stall_deadline.as_secs(), 3);
        let config = serve(&[], &[("STOMPEDE_CONFIG", file.path())]);
        assert_eq!((config.drain_rate, config.shards), (1, 2));
    }

    #[test]
    fn lists_are_flags_then_environment_then_file() {
        let file = File::new("allowed-origin = [\"https://a\", \"https://b\"]\n");
        let config = serve(&["--config", file.path()], &[]);
        assert_eq!(config.allowed_origins, ["https://a", "https://b"]);
        let env = [("STOMPEDE_ALLOWED_ORIGIN", "https://c, https://d")];
        let config = serve(&["--config", file.path()], &env);
        let all = ["https://c", "https://d", "https://a", "https://b"];
        assert_eq!(config.allowed_origins, all);
        let args = ["--config", file.path(), "--allowed-origin", "*"];
        assert_eq!(serve(&args, &env).allowed_origins, [&["*"][..], &all].concat());
        let file = File::new(
            "rule = [\"deny any both /**\"]\nuser = \"a:1\"\nhistory = \"/topic/a,1,1s\"\n\
             slow-consumer = \"/topic/a,disconnect\"\n",
        );
        let more = ["--user", "b:2", "--history", "/**,2,2s", "--slow-consumer", "/**,drop-oldest"];
        let args = ["--config", file.path(), "--allow", "user:b both /**"];
        let config = serve(&[&args[..], &more].concat(), &[]);
        assert_eq!(config.rules, ["allow user:b both /**", "deny any both /**"]);
        assert_eq!(config.users.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(config.history, ["/**,2,2s", "/topic/a,1,1s"]);
        assert_eq!(config.slow_consumer, ["/**,drop-oldest", "/topic/a,disconnect"]);
    }

    #[test]
    fn environment_lists_end_a_value_at_their_separators() {
        let origins = [("STOMPEDE_ALLOWED_ORIGIN", "https://a\nhttps://b, https://c,\n")];
        assert_eq!(serve(&[], &origins).allowed_origins, ["https://a", "https://b", "https://c"]);
        let rules = [("STOMPEDE_RULE", "deny any both /topic/a; allow any both /**;")];
        assert_eq!(serve(&[], &rules).rules, ["deny any both /topic/a", "allow any both /**"]);
        assert!(fails(&["--deny", "any both /topic/a;b"], &[]).contains("a ; ends a rule"));
        // A variable that another should have filled does not open the server.
        assert!(fails(&[], &[("STOMPEDE_USER", "")]).contains("NAME:PASSWORD"));
    }

    #[test]
    fn short_rules_are_flags_alone() {
        let file = File::new("allow = [\"any both /**\"]\n");
        let error = fails(&["--config", file.path()], &[]);
        assert!(error.contains("use rule = [...]") && error.contains("'allow WHO"), "{error}");
        let error = fails(&[], &[("STOMPEDE_DENY", "any both /**")]);
        assert!(error.contains("use STOMPEDE_RULE") && error.contains("'deny WHO"), "{error}");
    }

    #[test]
    fn limits_that_nothing_fits_in_are_refused() {
        assert!(fails(&["--frame-max", "1023"], &[]).contains("1KiB or more"));
        assert!(fails(&["--outbound-bytes-max", "4095"], &[]).contains("4KiB or more"));
        let config = serve(&["--frame-max", "1KiB", "--outbound-bytes-max", "4KiB"], &[]);
        assert_eq!((config.frame_bytes_max, config.outbound_bytes_max), (1 << 10, 4 << 10));
    }

    #[test]
    fn topic_rules_are_about_topics() {
        for bad in ["/queue/a", "topic/a", "/foo/**", "/topic/"] {
            let error = fails(&["--history", &format!("{bad},9,1m")], &[]);
            assert!(error.contains(bad) && error.contains("/topic/..., /**"), "{error}");
            let error = fails(&["--slow-consumer", &format!("{bad},drop-oldest")], &[]);
            assert!(error.contains(bad) && error.contains("slow-consumer"), "{error}");
        }
        let spring = ["--profile", "spring", "--history", "/queue/a,9,1m"];
        assert_eq!(serve(&spring, &[]).history, ["/queue/a,9,1m"]);
    }

    #[test]
    fn passwords_may_hold_commas_and_colons() {
        let env = [("STOMPEDE_USER", "a:1,2\nb:3:4")];
        let users = serve(&[], &env).users;
        assert_eq!(users, [("a".into(), "1,2".into()), ("b".into(), "3:4".into())]);
    }

    #[test]
    fn rules_keep_their_order_across_the_flags() {
        let flags = ["--deny", "any both /topic/a", "--rule", "allow any both /topic/b"];
        let more = ["--allow", "any both /topic/**", "--deny", "any both /**"];
        let wanted = [
            "deny any both /topic/a",
            "allow any both /topic/b",
            "allow any both /topic/**",
            "deny any both /**",
        ];
        let file = File::new("rule = [\"allow any both /queue/**\"]\n");
        let env = [("STOMPEDE_CONFIG", file.path())];
        assert_eq!(serve(&[], &env).rules, ["allow any both /queue/**"]);
        let args = [flags, more].concat();
        assert_eq!(serve(&args, &env).rules[..4], wanted);
        let env = [("STOMPEDE_RULE", &*wanted.join("\n"))];
        assert_eq!(serve(&[], &env).rules, wanted);
        let error = fails(&["--deny", "any both"], &[]);
        assert!(error.contains("'deny any both'") && error.contains("who verb pattern"), "{error}");
        for bad in ["any both topic/secret/**", "any both /foo/**"] {
            let error = fails(&["config", "check", "--deny", bad], &[]);
            assert!(error.contains(bad) && error.contains("/topic/..., /queue/"), "{error}");
            assert!(error.ends_with("/**"), "{error}");
        }
        assert!(fails(&["--deny", "any both /topic/a /topic/b"], &[]).contains("three words"));
        assert!(fails(&["--rule", "any both /**"], &[]).contains("allow or deny"));
    }

    #[test]
    fn the_profile_says_what_a_rule_means() {
        assert!(fails(&["--allow", "any both /topic/{x:y}"], &[]).contains("brace"));
        let rule = ["--allow", "any both /topic/#"];
        assert!(fails(&rule, &[]).contains("here use * and ? within a segment"));
        let args = [&rule[..], &["--profile", "rabbitmq"]].concat();
        assert_eq!(serve(&args, &[]).profile.name(), "rabbitmq");
        assert!(fails(&["--profile", "rabbit"], &[]).contains("activemq"));
    }

    /// Catalogue: N03.
    #[test]
    fn unknown_names_are_errors_with_a_hint() {
        let file = File::new("lisen = \"127.0.0.1:1\"\n");
        let error = fails(&["--config", file.path()], &[]);
        assert!(
            error.contains("\"lisen\"") && error.contains("did you mean \"listen\""),
            "{error}"
        );
        let error = fails(&[], &[("STOMPEDE_DRAINRATE", "1")]);
        assert!(error.contains("did you mean \"STOMPEDE_DRAIN_RATE\""), "{error}");
        let error = fails(&["--drain-rat", "1"], &[]);
        assert!(error.contains("--drain-rate"), "{error}");
        assert!(fails(&[], &[("STOMPEDE_NONSENSE_AT_ALL", "1")]).contains("--help"));
    }

    /// Catalogue: N03.
    #[test]
    fn a_bad_value_is_named_even_when_a_flag_hides_it() {
        let file = File::new("shards = \"many\"\n");
        let error = fails(&["--config", file.path(), "--shards", "1"], &[]);
        assert!(error.contains("shards = \"many\"") && error.contains("whole number"), "{error}");
    }

    /// Catalogue: N03.
    #[test]
    fn a_value_of_a_list_is_one_line() {
        for value in ["a\nb", "a\r", "\n"] {
            let error = fails(&["--virtual-host", value], &[]);
            assert!(error.contains("each value by itself"), "{error}");
            let error = fails(&["--rule", &format!("allow any both /topic/{value}")], &[]);
            assert!(error.contains("each value by itself"), "{error}");
        }
    }

    /// Catalogue: N03.
    #[test]
    fn a_bad_secret_is_not_printed() {
        for (args, env) in
            [(&["--user", "hunter2"][..], &[][..]), (&[][..], &[("STOMPEDE_USER", "hunter2")][..])]
        {
            let error = fails(args, env);
            assert!(error.contains("***") && !error.contains("hunter2"), "{error}");
        }
    }

    /// Catalogue: N03.
    #[test]
    fn files_that_are_no_configuration_are_refused() {
        for text in [
            "listen",
            "config = \"x\"",
            "[listen]\na = 1",
            "drain-rate = [1]",
            "drain-rate = 1\ndrain_rate = 2",
            "drain-rate = 1.5",
        ] {
            let file = File::new(text);
            assert!(run(&["--config", file.path()], &[]).is_err(), "{text}");
        }
        assert!(fails(&["--config", "no/such/file"], &[]).contains("no/such/file"));
    }

    #[test]
    fn switches_stand_alone_or_have_a_value() {
        assert!(serve(&["--strict-subprotocol"], &[]).strict_subprotocol);
        assert!(!serve(&["--pin-shards=false"], &[]).pin);
        assert!(fails(&["--pin-shards", "false"], &[]).contains("write --pin-shards=false"));
        assert!(!serve(&[], &[("STOMPEDE_PIN_SHARDS", "false")]).pin);
    }

    #[test]
    fn what_is_called_otherwise_here_is_told() {
        for (args, wanted) in [
            (&["--port", "80"][..], "for that there is --listen IP:PORT"),
            (&["--port=80"], "--listen IP:PORT"),
            (&["--cert", "a.pem"], "proxy"),
            (&["--prefetch", "1"], "--queue-prefetch"),
            (&["serve"], "without a command stompede serves"),
            (&["frobnicate"], "commands are demo, probe, config, passwd"),
            (&["--shards", "0"], "1 or more, or auto"),
            (&["--frame-max", "10MB"], "did you mean 10MiB?"),
        ] {
            let error = fails(args, &[]);
            assert!(error.contains(wanted), "{args:?}: {error}");
        }
        assert!(!fails(&["--zebra"], &[]).contains("there are"));
    }

    #[test]
    fn help_begins_with_what_a_newcomer_needs() {
        let Ok(Invocation::PrintHelp(text)) = run(&["--help"], &[]) else { panic!("help") };
        let headings = options::subjects().map(|(subject, _)| format!("\n{subject}:"));
        let places: Vec<_> = ["For a start", "Usage:"]
            .into_iter()
            .map(str::to_owned)
            .chain(headings)
            .map(|part| text.find(&part).unwrap_or_else(|| panic!("no {part}: {text}")))
            .collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn off_disables_a_listener() {
        let config = serve(&["--stomp-listen", "off", "--admin-listen=off"], &[]);
        assert_eq!((config.stomp_listen, config.admin_listen), (None, None));
    }

    #[test]
    fn a_larger_frame_raises_the_message_limit() {
        let limits = serve(&["--frame-max", "4MiB"], &[]).limits;
        assert_eq!((limits.stomp_frame_bytes_max, limits.ws_message_bytes_max), (4 << 20, 4 << 20));
        let limits = serve(&["--ws-message-max", "2MiB", "--frame-max", "4MiB"], &[]).limits;
        assert_eq!(limits.ws_message_bytes_max, 2 << 20);
    }

    #[test]
    fn sub_commands() {
        let with = |drain_rate| Config { drain_rate, ..Config::default() };
        let rate = ["--drain-rate", "5"];
        assert_eq!(run(&["probe", rate[0], rate[1]], &[]), Ok(Invocation::Probe(with(5))));
        let demo = Config { test_services: true, ..with(5) };
        assert_eq!(run(&["demo", rate[0], rate[1]], &[]), Ok(Invocation::Serve(demo)));
        assert_eq!(run(&[rate[0], rate[1], "probe"], &[]), Ok(Invocation::Probe(with(5))));
        assert_eq!(run(&["config", "check"], &[]), Ok(Invocation::ConfigCheck));
        let show = run(&["config", "show", rate[0], rate[1]], &[]);
        assert_eq!(show, Ok(Invocation::ConfigShow(with(5))));
        assert_eq!(run(&["passwd", "ann"], &[]), Ok(Invocation::Passwd { name: "ann".into() }));
        assert!(run(&["passwd", "a:b"], &[]).is_err());
        assert!(run(&["serv"], &[]).is_err() && run(&["config"], &[]).is_err());
        assert_eq!(run(&["--version"], &[]), Ok(Invocation::Version));
        assert!(fails(&["config", "check", "--users-file", "no/such"], &[]).contains("no/such"));
    }

    #[test]
    fn help_names_every_option() {
        let Ok(Invocation::PrintHelp(text)) = run(&["--help"], &[]) else { panic!("help") };
        for option in options::all() {
            assert!(text.contains(&format!("--{}", option.name)), "{}", option.name);
            assert!(text.contains(&option.env()), "{}", option.name);
        }
        command().debug_assert();
    }

    #[test]
    fn the_help_of_a_command_is_about_the_command() {
        for (args, wanted) in [
            (&["passwd", "--help"][..], "Usage: stompede passwd <NAME>"),
            (&["help", "passwd"], "Usage: stompede passwd <NAME>"),
            (&["probe", "-h"], "stompede --help lists them"),
            (&["config", "show", "--help"], "Usage: stompede config show"),
            (&["config", "--help"], "Print it as TOML"),
        ] {
            let Ok(Invocation::PrintHelp(text)) = run(args, &[]) else { panic!("{args:?}") };
            assert!(text.contains(wanted) && !text.contains("--shards"), "{args:?}: {text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        let args = ["--shards", "3", "--allowed-origin", "https://a", "--memory-max", "3GiB"];
        let config = serve(&args, &[]);
        assert!(options::show_toml(&Config::default()).contains("shards = \"auto\""));
        let file = File::new(&options::show_toml(&config));
        assert_eq!(serve(&["--config", file.path()], &[]), config);
    }
}
