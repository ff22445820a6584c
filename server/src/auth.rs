//! Who may log in: names with passwords from the configuration, and a file of argon2 hashes.
//!
//! The same check serves STOMP's `login` and `passcode` (STOMP 1.2, CONNECT) and HTTP Basic
//! (RFC 7617). Answers that are cheap come at once; an argon2 hash takes milliseconds and
//! megabytes, so it comes as a [`HashJob`] to be run off the I/O thread, few at a time.
//!
//! A caller must not learn which names exist: passwords are compared in constant time, and where
//! a users file exists every refusal costs one hash, for unknown names a dummy one. It uses the
//! parameters of the file's first line, so hash all lines with the same ones.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Argon2, Params};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::DecodePaddingMode;
use base64::{alphabet, Engine as _};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::Config;
use stompede_core::broker::authorization::Authorization;

/// RFC 7617 pads; some clients do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

enum Secret {
    Plain(String),
    Hash(Arc<str>),
}

/// Knows the users. Read only: one for all shards.
pub struct Authenticator {
    users: HashMap<String, Secret>,
    /// What a refusal is made to cost; `None` without a users file.
    dummy: Option<Arc<str>>,
}

/// The answer to a log-in.
pub enum Verdict {
    /// Let them in.
    Accepted,
    /// Turn them away.
    Refused,
    /// Not known before the job has run, elsewhere.
    NeedsHash(HashJob),
}

/// One argon2 computation: some 20 MiB and 20 ms with the default parameters.
pub struct HashJob {
    hash: Arc<str>,
    passcode: String,
    /// False if it is only run for the time it takes.
    counts: bool,
}

impl Authenticator {
    /// Takes users from `--user` and reads `--users-file`; with neither, everybody may log in.
    ///
    /// # Errors
    /// The file cannot be read, a line is not `name:$argon2...` (with its number), or a name
    /// appears twice.
    pub fn from_config(config: &Config) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (name, password) in &config.users {
            if users.insert(name.clone(), Secret::Plain(password.clone())).is_some() {
                return Err(format!("seen user {name:?} twice; keep one of them"));
            }
        }
        let mut dummy = None;
        if let Some(path) = &config.users_file {
            let file = path.display();
            let text = std::fs::read_to_string(path).map_err(|error| {
                format!("seen users-file {file}, which cannot be read: {error}")
            })?;
            warn_if_open(path);
            for (number, name, hash) in
                parse_users(&text).map_err(|why| format!("users-file {file}, {why}"))?
            {
                let hash: Arc<str> = hash.into();
                dummy.get_or_insert_with(|| hash.clone());
                if users.insert(name.clone(), Secret::Hash(hash)).is_some() {
                    return Err(format!(
                        "users-file {file}, line {number}: user {name:?} is there already; \
                         keep one of them"
                    ));
                }
            }
            if users.is_empty() {
                // Without this an empty file would open the server to everybody.
                return Err(format!(
                    "users-file {file} holds no user; add one with stompede passwd"
                ));
            }
        }
        Ok(Authenticator { users, dummy })
    }

    /// True if nobody was configured and so every log-in is accepted.
    pub fn is_open(&self) -> bool {
        self.users.is_empty()
    }

    /// Is this one of the users?
    fn has(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// Checks a log-in. Takes no longer for a known name than for an unknown one.
    pub fn check(&self, login: &str, passcode: &str) -> Verdict {
        if self.is_open() {
            return Verdict::Accepted;
        }
        let job = |hash: &Arc<str>, counts| {
            Verdict::NeedsHash(HashJob {
                hash: hash.clone(),
                passcode: passcode.to_owned(),
                counts,
            })
        };
        let matches = match self.users.get(login) {
            Some(Secret::Hash(hash)) => return job(hash, true),
            Some(Secret::Plain(password)) => same(password.as_bytes(), passcode.as_bytes()),
            None => same(b"nobody's", passcode.as_bytes()) & Choice::from(0),
        };
        match (bool::from(matches), &self.dummy) {
            (true, _) => Verdict::Accepted,
            (false, Some(dummy)) => job(dummy, false),
            (false, None) => Verdict::Refused,
        }
    }
}

impl HashJob {
    /// Computes the hash: true lets the user in.
    pub fn run(self) -> bool {
        let matches = PasswordHash::new(&self.hash).is_ok_and(|hash| {
            Argon2::default().verify_password(self.passcode.as_bytes(), &hash).is_ok()
        });
        matches & self.counts
    }
}

/// Compares in a time that depends on `given`, which its sender knows, and not on `secret`.
fn same(secret: &[u8], given: &[u8]) -> Choice {
    let mut equal = secret.len().ct_eq(&given.len());
    if secret.is_empty() {
        return equal;
    }
    for (byte, expected) in given.iter().zip(secret.iter().cycle()) {
        equal &= byte.ct_eq(expected);
    }
    equal
}

/// What an operator may have meant otherwise; each goes to the log at the start. No password is
/// part of it.
pub fn doubts(config: &Config, users: &Authenticator, rules: &Authorization) -> Vec<String> {
    let joined = config.users.iter().filter(|(_, password)| {
        // `,NAME:` looks like the next of a list.
        let rest = password.split_once(',').map_or("", |(_, rest)| rest);
        rest.find(':').is_some_and(|at| at > 0)
    });
    let joined = joined.map(|(name, _)| {
        format!(
            "the password of user {name:?} goes on behind a comma like NAME:PASSWORD: if another \
             user is meant, write --user once for each, or one a line in STOMPEDE_USER"
        )
    });
    let void = rules.user_names().filter_map(|name| match (users.is_open(), users.has(name)) {
        (true, _) => Some(format!(
            "seen user:{name} in a rule, but without users nobody has a name: add them with \
             --user or --users-file"
        )),
        (false, false) => Some(format!(
            "seen user:{name} in a rule, but there is no such user: add one, or correct it"
        )),
        (false, true) => None,
    });
    joined.chain(void).collect()
}

/// The line of a users file for this name and password, hashed with argon2id and a fresh salt.
///
/// # Errors
/// The password is empty, or the system gives no random bytes.
pub fn hash_line(name: &str, password: &str) -> Result<String, String> {
    use std::io::Read as _;
    if password.is_empty() {
        return Err("seen an empty password; write one to standard input".to_owned());
    }
    let mut salt = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut salt))
        .map_err(|error| format!("no random bytes for the salt from /dev/urandom: {error}"))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| error.to_string())?;
    Ok(format!("{name}:{hash}"))
}

/// Name and password of an `Authorization` header's value (RFC 7617 §2): the scheme in any case,
/// `user-id:password` in base64 as UTF-8, neither with control characters. The first colon ends
/// the name.
pub fn decode_basic(header: &[u8]) -> Option<(String, String)> {
    let header = header.trim_ascii();
    let (scheme, token) = header.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"basic") || token.first() != Some(&b' ') {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(token.trim_ascii()).ok()?).ok()?;
    // RFC 7617 §2: "The user-id and password MUST NOT contain any control characters".
    if text.chars().any(char::is_control) {
        return None;
    }
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Line number, name and hash of each user.
fn parse_users(text: &str) -> Result<Vec<(usize, String, String)>, String> {
    let mut users = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fail = |why: &str| Err(format!("line {number}: {why}"));
        // A hash holds no colon, a name might in other files: the error then names the name.
        let Some((name, hash)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return fail("seen no name before a colon; allowed is NAME:$argon2..., # comments");
        };
        if !hash.starts_with("$argon2") {
            return fail("seen no $argon2 hash after the name; make one with stompede passwd");
        }
        match PasswordHash::new(hash) {
            Ok(parsed) if parsed.hash.is_some() && Params::try_from(&parsed).is_ok() => {}
            _ => return fail("seen a damaged $argon2 hash; make a new one with stompede passwd"),
        }
        users.push((number, name.to_owned(), hash.to_owned()));
    }
    Ok(users)
}

fn warn_if_open(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode());
    if mode & 0o004 != 0 {
        let file = path.display();
        tracing::warn!(%file, "every user of this machine can read the users file: chmod o-r");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::{Algorithm, Version};

    /// A cheap hash: the tests are about who is let in.
    fn hash(password: &str) -> String {
        let params = Params::new(8, 1, 1, None).expect("smallest parameters");
        let salt = SaltString::encode_b64(b"0123456789abcdef").expect("salt");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.as_bytes(), &salt)
            .expect("hash")
            .to_string()
    }

    fn with_file(test: &str, users: &[(&str, &str)], text: &str) -> Result<Authenticator, String> {
        let name = format!("stompede-users-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file in the temporary directory");
        let users = users.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let config = Config { users, users_file: Some(path.clone()), ..Config::default() };
        let result = Authenticator::from_config(&config);
        let _ = std::fs::remove_file(path);
        result
    }

    fn lets_in(auth: &Authenticator, login: &str, passcode: &str) -> bool {
        match auth.check(login, passcode) {
            Verdict::Accepted => true,
            Verdict::Refused => false,
            Verdict::NeedsHash(job) => job.run(),
        }
    }

    #[test]
    fn without_users_everybody_is_let_in() {
        let auth = Authenticator::from_config(&Config::default()).expect("the default");
        assert!(auth.is_open() && lets_in(&auth, "anybody", ""));
    }

    #[test]
    fn what_may_be_meant_otherwise_is_said_at_the_start() {
        let doubts = |users: &[(&str, &str)], rule: &str| {
            let users = users.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
            let config = Config { users, rules: vec![rule.to_owned()], ..Config::default() };
            let auth = Authenticator::from_config(&config).expect("users");
            doubts(&config, &auth, &config.authorization().expect("rules"))
        };
        let (anns, nobodys) = ("allow user:ann both /**", "allow user:nobody both /topic/a");
        let none = Vec::<String>::new();
        for password in ["pw", "a,b", "a:b", "a,:b", "a:b,c"] {
            assert_eq!(doubts(&[("ann", password)], anns), none, "{password}");
        }
        let joined = doubts(&[("ann", "pw,bob:pw2")], anns);
        assert!(joined.len() == 1 && joined[0].contains("one a line in STOMPEDE_USER"));
        assert!(!joined[0].contains("pw2"), "a password is not for the log");
        let void = doubts(&[("ann", "pw")], nobodys);
        assert!(void.len() == 1 && void[0].contains("user:nobody") && void[0].contains("no such"));
        let open = doubts(&[], nobodys);
        assert!(open.len() == 1 && open[0].contains("nobody has a name"), "{open:?}");
        assert_eq!(doubts(&[], "deny any both /topic/a"), none);
    }

    #[test]
    fn plain_users_are_answered_at_once() {
        let users = vec![("ann".to_owned(), "secret".to_owned())];
        let auth = Authenticator::from_config(&Config { users, ..Config::default() }).expect("one");
        assert!(!auth.is_open());
        assert!(matches!(auth.check("ann", "secret"), Verdict::Accepted));
        for (login, passcode) in
            [("ann", "secreT"), ("ann", "secretsecret"), ("ann", ""), ("bob", "nobody's"), ("", "")]
        {
            assert!(matches!(auth.check(login, passcode), Verdict::Refused), "{login} {passcode}");
        }
    }

    /// Catalogue: J02.
    #[test]
    fn with_a_file_every_refusal_costs_a_hash() {
        let text = format!("# staff\n\n bob:{}\n", hash("pw"));
        let auth = with_file("cost", &[("ann", "secret")], &text).expect("good file");
        assert!(lets_in(&auth, "bob", "pw") && lets_in(&auth, "ann", "secret"));
        for (login, passcode) in [("bob", "no"), ("ann", "no"), ("eve", "pw"), ("ann", "pw")] {
            assert!(matches!(auth.check(login, passcode), Verdict::NeedsHash(_)), "{login}");
            assert!(!lets_in(&auth, login, passcode), "{login} {passcode}");
        }
    }

    #[test]
    fn mistakes_in_the_file_are_named_with_their_line() {
        let good = hash("pw");
        for (text, named) in [
            ("bob\n".to_owned(), "line 1"),
            ("# x\n:y\n".to_owned(), "line 2"),
            ("\nbob:plain\n".to_owned(), "line 2: seen no $argon2"),
            ("bob:$argon2id$v=19$m=8,t=1,p=1$AAAA\n".to_owned(), "damaged"),
            (format!("bob:{good}\nbob:{good}\n"), "line 2: user \"bob\""),
            ("# nobody\n".to_owned(), "holds no user"),
        ] {
            let error = with_file("bad", &[], &text).err().expect("must be refused");
            assert!(error.contains(named), "{error}");
        }
        let error = with_file("twice", &[("bob", "x")], &format!("bob:{good}")).err();
        assert!(error.is_some_and(|error| error.contains("line 1")));
    }

    #[test]
    fn a_line_of_passwd_lets_its_user_in() {
        let line = hash_line("ann", "secret").expect("random bytes");
        assert!(line.starts_with("ann:$argon2id$"), "{line}");
        assert_ne!(line, hash_line("ann", "secret").expect("random bytes"));
        let auth = with_file("passwd", &[], &line).expect("our own line");
        assert!(lets_in(&auth, "ann", "secret") && !lets_in(&auth, "ann", "Secret"));
        assert!(hash_line("ann", "").is_err());
    }

    #[test]
    fn basic_is_decoded_as_rfc_7617_says() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        // RFC 7617 §2, the two examples.
        let header = b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(decode_basic(header), pair("Aladdin", "open sesame"));
        assert_eq!(decode_basic(b"basic dGVzdDoxMjPCow=="), pair("test", "123\u{a3}"));
        assert_eq!(decode_basic(b"BASIC  YTpiOmM"), pair("a", "b:c"));
        for bad in [
            &b""[..],
            b"Basic",
            b"BasicYTpi",
            b"Basic YWI=",
            b"Basic !",
            b"Bearer YTpi",
            b"Basic /zo=",
            b"Basic YQE6Yg==",
        ] {
            assert_eq!(decode_basic(bad), None, "{bad:?}");
        }
    }
}
