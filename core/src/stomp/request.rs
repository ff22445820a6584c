//! What a client frame asks for, with everything its version requires checked.
//!
//! STOMP 1.0, 1.1, 1.2, Client Frames. The differences between versions end here: the session sees
//! one ACK with one id, whether it came as `id` (1.2) or as `message-id` (1.1, 1.0). `host` is not
//! required, although 1.1 and 1.2 say so: the most used clients do not send it. NACK is accepted in
//! 1.0, as other brokers do. A body on any frame but SEND is ignored in 1.0 and an error later
//! ("Only the SEND, MESSAGE, and ERROR frames MAY have a body. All other frames MUST NOT").

use std::borrow::Cow;

use super::command::Command;
use super::decode::Rules;
use super::error::Error;
use super::frame::Frame;
use super::heartbeat;
use super::negotiation::{choose, Version};
use crate::limits::Limits;

/// How a subscription is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AckMode {
    /// Delivered is acknowledged.
    #[default]
    Auto,
    /// An ACK covers all earlier deliveries of the subscription.
    Client,
    /// An ACK covers one delivery.
    ClientIndividual,
}

/// A client frame, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// CONNECT or STOMP.
    Connect(Connect<'a>),
    /// SEND; body and further headers are in the frame.
    Send {
        /// Not empty, within its limit; what else it must be is the broker's to say.
        destination: Cow<'a, str>,
        /// The transaction it belongs to.
        transaction: Option<Cow<'a, str>>,
    },
    /// SUBSCRIBE.
    Subscribe {
        /// `None` only in 1.0.
        id: Option<Cow<'a, str>>,
        /// Checked as for SEND.
        destination: Cow<'a, str>,
        /// `auto` if the client did not say.
        ack: AckMode,
    },
    /// UNSUBSCRIBE; at least one of both is there, and from 1.1 on it is the id.
    Unsubscribe {
        /// The subscription's id.
        id: Option<Cow<'a, str>>,
        /// In 1.0, the destination of a subscription without id.
        destination: Option<Cow<'a, str>>,
    },
    /// ACK.
    Ack {
        /// 1.2: `id`, else `message-id`.
        id: Cow<'a, str>,
        /// Always there in 1.1, ignored in 1.2.
        subscription: Option<Cow<'a, str>>,
        /// The transaction it belongs to.
        transaction: Option<Cow<'a, str>>,
    },
    /// NACK.
    Nack {
        /// As for ACK.
        id: Cow<'a, str>,
        /// As for ACK.
        subscription: Option<Cow<'a, str>>,
        /// As for ACK.
        transaction: Option<Cow<'a, str>>,
    },
    /// BEGIN.
    Begin {
        /// Its id.
        transaction: Cow<'a, str>,
    },
    /// COMMIT.
    Commit {
        /// Its id.
        transaction: Cow<'a, str>,
    },
    /// ABORT.
    Abort {
        /// Its id.
        transaction: Cow<'a, str>,
    },
    /// DISCONNECT.
    Disconnect,
}

/// CONNECT or STOMP. Values are literal: passwords may hold `:` and `\`.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version to speak.
    pub version: Version,
    /// What the client can send and what it wants, in milliseconds; 0 is not at all.
    pub heartbeat: (u32, u32),
    /// User name.
    pub login: Option<Cow<'a, str>>,
    /// Password.
    pub passcode: Option<Cow<'a, str>>,
    /// Virtual host.
    pub host: Option<Cow<'a, str>>,
    /// `client-id`, by which ActiveMQ's durable subscriptions are known.
    pub client_id: Option<Cow<'a, str>>,
    /// `error-mode:soft`: a SUBSCRIBE that is not allowed is answered by a MESSAGE.
    pub is_soft: bool,
}

impl std::fmt::Debug for Connect<'_> {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("heartbeat", &self.heartbeat)
            .field("login", &self.login)
            .field("passcode", &self.passcode.as_ref().map(|_| "..."))
            .field("host", &self.host)
            .field("client_id", &self.client_id)
            .field("is_soft", &self.is_soft)
            .finish()
    }
}

/// What `frame` asks for.
///
/// # Errors
/// The first rule that the frame breaks, by the version of `rules`.
pub fn decode_request<'a>(
    frame: &Frame<'a>,
    rules: Rules,
    limits: &Limits,
) -> Result<Request<'a>, Error> {
    let version = match rules {
        Rules::BeforeConnect if frame.command.opens_session() => return connect(frame),
        Rules::BeforeConnect => return Err(Error::NotConnected),
        Rules::Version(version) => version,
    };
    let view = View { frame, version, limits };
    if frame.command != Command::Send && !frame.command.is_from_server() {
        view.check_no_body()?;
    }
    view.id("receipt")?;
    Ok(match frame.command {
        Command::Connect | Command::Stomp => return Err(Error::AlreadyConnected),
        Command::Connected | Command::Message | Command::Receipt | Command::Error => {
            return Err(Error::ServerCommand)
        }
        Command::Send => {
            Request::Send { destination: view.destination()?, transaction: view.id("transaction")? }
        }
        Command::Subscribe => view.subscribe()?,
        Command::Unsubscribe => view.unsubscribe()?,
        Command::Ack => {
            let (id, subscription, transaction) = view.acknowledgement()?;
            Request::Ack { id, subscription, transaction }
        }
        Command::Nack => {
            let (id, subscription, transaction) = view.acknowledgement()?;
            Request::Nack { id, subscription, transaction }
        }
        Command::Begin => Request::Begin { transaction: view.required_id("transaction")? },
        Command::Commit => Request::Commit { transaction: view.required_id("transaction")? },
        Command::Abort => Request::Abort { transaction: view.required_id("transaction")? },
        Command::Disconnect => Request::Disconnect,
    })
}

/// The `receipt` header of any frame but CONNECT and STOMP.
pub fn receipt<'a>(frame: &Frame<'a>) -> Option<Cow<'a, str>> {
    // "Any client frame other than CONNECT MAY specify a receipt header" (1.2, receipt).
    (!frame.command.opens_session()).then(|| frame.header("receipt"))?
}

fn connect<'a>(frame: &Frame<'a>) -> Result<Request<'a>, Error> {
    let version = choose(frame.header("accept-version").as_deref())?;
    let heartbeat = match frame.header("heart-beat") {
        None => (0, 0),
        Some(text) => heartbeat::parse(&text)?,
    };
    if version != Version::V1_0 && !frame.body.is_empty() {
        return Err(Error::BodyNotAllowed);
    }
    Ok(Request::Connect(Connect {
        version,
        heartbeat: if version == Version::V1_0 { (0, 0) } else { heartbeat },
        login: frame.header("login"),
        passcode: frame.header("passcode"),
        host: frame.header("host"),
        client_id: frame.header("client-id"),
        is_soft: frame.header("error-mode").as_deref() == Some("soft"),
    }))
}

/// A frame with what it is checked against.
struct View<'f, 'a> {
    frame: &'f Frame<'a>,
    version: Version,
    limits: &'f Limits,
}

/// Id, subscription, transaction.
type Acknowledgement<'a> = (Cow<'a, str>, Option<Cow<'a, str>>, Option<Cow<'a, str>>);

impl<'a> View<'_, 'a> {
    fn check_no_body(&self) -> Result<(), Error> {
        match self.version == Version::V1_0 || self.frame.body.is_empty() {
            true => Ok(()),
            false => Err(Error::BodyNotAllowed),
        }
    }

    fn id(&self, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
        let id = self.frame.header(name);
        match &id {
            Some(id) if id.len() > self.limits.id_bytes_max => Err(Error::IdTooLong),
            _ => Ok(id),
        }
    }

    fn required_id(&self, name: &'static str) -> Result<Cow<'a, str>, Error> {
        self.id(name)?.ok_or(Error::MissingHeader(name))
    }

    fn optional_destination(&self) -> Result<Option<Cow<'a, str>>, Error> {
        let Some(destination) = self.frame.header("destination") else { return Ok(None) };
        let (seen, limit) = (destination.len(), self.limits.destination_bytes_max);
        if seen > limit {
            return Err(Error::DestinationTooLong { seen, limit });
        }
        if seen == 0 {
            return Err(Error::BadDestination);
        }
        Ok(Some(destination))
    }

    fn destination(&self) -> Result<Cow<'a, str>, Error> {
        self.optional_destination()?.ok_or(Error::MissingHeader("destination"))
    }

    fn subscribe(&self) -> Result<Request<'a>, Error> {
        let id = match self.version {
            Version::V1_0 => self.id("id")?,
            _ => Some(self.required_id("id")?),
        };
        let destination = self.destination()?;
        let ack = match self.frame.header("ack").as_deref() {
            None | Some("auto") => AckMode::Auto,
            Some("client") => AckMode::Client,
            Some("client-individual") => AckMode::ClientIndividual,
            Some(_) => return Err(Error::BadAckMode),
        };
        Ok(Request::Subscribe { id, destination, ack })
    }

    fn unsubscribe(&self) -> Result<Request<'a>, Error> {
        let id = self.id("id")?;
        if self.version != Version::V1_0 {
            let id = id.ok_or(Error::MissingHeader("id"))?;
            return Ok(Request::Unsubscribe { id: Some(id), destination: None });
        }
        let destination = self.optional_destination()?;
        if id.is_none() && destination.is_none() {
            return Err(Error::MissingHeader("id"));
        }
        Ok(Request::Unsubscribe { id, destination })
    }

    fn acknowledgement(&self) -> Result<Acknowledgement<'a>, Error> {
        let (id, subscription) = match self.version {
            Version::V1_0 => (self.required_id("message-id")?, self.id("subscription")?),
            Version::V1_1 => {
                (self.required_id("message-id")?, Some(self.required_id("subscription")?))
            }
            // stompjs always adds `subscription`; 1.2 does not know it.
            Version::V1_2 => (self.required_id("id")?, None),
        };
        Ok((id, subscription, self.id("transaction")?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::{decode, Item};
    use super::super::frame::HeaderTable;
    use super::*;

    const V1_0: Rules = Rules::Version(Version::V1_0);
    const V1_1: Rules = Rules::Version(Version::V1_1);
    const V1_2: Rules = Rules::Version(Version::V1_2);

    fn with<T>(
        input: &str,
        rules: Rules,
        check: impl FnOnce(Result<Request<'_>, Error>) -> T,
    ) -> T {
        let (mut table, limits) = (HeaderTable::default(), Limits::default());
        match decode(input.as_bytes(), rules, &limits, &mut table) {
            Ok(Some((Item::Frame(frame), _))) => check(decode_request(&frame, rules, &limits)),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn is(input: &str, rules: Rules, expected: Request<'_>) {
        with(input, rules, |request| assert_eq!(request, Ok(expected)));
    }

    #[track_caller]
    fn fails(input: &str, rules: Rules, error: Error) {
        with(input, rules, |request| assert_eq!(request, Err(error)));
    }

    #[test]
    fn connect() {
        let input = "CONNECT\naccept-version:1.0, 1.1, 1.2\nheart-beat:1,2\nlogin:u\n\
                     error-mode:soft\npasscode::=\\t\nhost:h\n\n\0";
        let expected = Connect {
            version: Version::V1_2,
            heartbeat: (1, 2),
            login: Some("u".into()),
            passcode: Some(":=\\t".into()),
            host: Some("h".into()),
            client_id: None,
            is_soft: true,
        };
        assert!(!format!("{expected:?}").contains(":=")); // The password is not printed.
        is(input, Rules::BeforeConnect, Request::Connect(expected));
    }

    #[test]
    fn a_bare_connect_is_1_0_without_heartbeats_and_host() {
        let expected = Connect {
            version: Version::V1_0,
            heartbeat: (0, 0),
            login: None,
            passcode: None,
            host: None,
            client_id: None,
            is_soft: false,
        };
        is("STOMP\n\n\0", Rules::BeforeConnect, Request::Connect(expected.clone()));
        is("CONNECT\n\nbody\0", Rules::BeforeConnect, Request::Connect(expected));
    }

    /// Catalogue: H12.
    #[test]
    fn bad_connects() {
        let rules = Rules::BeforeConnect;
        fails("CONNECT\naccept-version:9.9\n\n\0", rules, Error::NoCommonVersion);
        fails("CONNECT\naccept-version:1.2\n\nbody\0", rules, Error::BodyNotAllowed);
        for bad in ["abc", "0", "1,2,3", "-1,5", "99999999999999999999,1"] {
            let input = format!("CONNECT\naccept-version:1.2\nheart-beat:{bad}\n\n\0");
            fails(&input, rules, Error::BadHeartbeat);
        }
        fails("CONNECT\n\n\0", V1_2, Error::AlreadyConnected);
        fails("STOMP\n\n\0", V1_0, Error::AlreadyConnected);
    }

    /// Catalogue: H19.
    #[test]
    fn server_commands_from_a_client() {
        for command in ["MESSAGE", "CONNECTED", "RECEIPT", "ERROR"] {
            fails(&format!("{command}\n\n\0"), V1_2, Error::ServerCommand);
        }
    }

    #[test]
    fn send() {
        let expected = Request::Send { destination: "/a".into(), transaction: Some("t".into()) };
        // Headers that are the server's on MESSAGE are accepted.
        let input = "SEND\ndestination:/a\ntransaction:t\nmessage-id:9\nack:1\n\nx\0";
        is(input, V1_2, expected);
    }

    #[test]
    fn destinations_are_required_and_sane() {
        fails("SEND\n\n\0", V1_2, Error::MissingHeader("destination"));
        fails("SUBSCRIBE\nid:1\n\n\0", V1_2, Error::MissingHeader("destination"));
        fails("SEND\ndestination:\n\n\0", V1_2, Error::BadDestination);
        let long = "x".repeat(1_025);
        let error = Error::DestinationTooLong { seen: 1_025, limit: 1_024 };
        fails(&format!("SEND\ndestination:{long}\n\n\0"), V1_2, error);
    }

    #[test]
    fn subscribe() {
        let subscribe = |id: Option<&'static str>, ack| Request::Subscribe {
            id: id.map(Cow::Borrowed),
            destination: "/a".into(),
            ack,
        };
        let input = "SUBSCRIBE\nid:1\ndestination:/a\n\n\0";
        is(input, V1_2, subscribe(Some("1"), AckMode::Auto));
        is("SUBSCRIBE\ndestination:/a\n\n\0", V1_0, subscribe(None, AckMode::Auto));
        for (text, ack) in [
            ("auto", AckMode::Auto),
            ("client", AckMode::Client),
            ("client-individual", AckMode::ClientIndividual),
        ] {
            for rules in [V1_0, V1_1, V1_2] {
                let input = format!("SUBSCRIBE\nid:1\ndestination:/a\nack:{text}\n\n\0");
                is(&input, rules, subscribe(Some("1"), ack));
            }
        }
    }

    #[test]
    fn bad_subscribes() {
        fails("SUBSCRIBE\ndestination:/a\n\n\0", V1_1, Error::MissingHeader("id"));
        fails("SUBSCRIBE\ndestination:/a\n\n\0", V1_2, Error::MissingHeader("id"));
        let rest = "id:1\ndestination:/a\n";
        fails(&format!("SUBSCRIBE\n{rest}ack:sometimes\n\n\0"), V1_2, Error::BadAckMode);
    }

    /// Catalogue: H10.
    #[test]
    fn bodies_belong_to_send() {
        for frame in ["SUBSCRIBE\nid:1\ndestination:/a\n", "BEGIN\ntransaction:t\n"] {
            let input = format!("{frame}\nbody\0");
            fails(&input, V1_1, Error::BodyNotAllowed);
            fails(&input, V1_2, Error::BodyNotAllowed);
            with(&input, V1_0, |request| assert!(request.is_ok()));
        }
    }

    #[test]
    fn unsubscribe() {
        let by_id = Request::Unsubscribe { id: Some("1".into()), destination: None };
        is("UNSUBSCRIBE\nid:1\n\n\0", V1_2, by_id);
        let by_name = Request::Unsubscribe { id: None, destination: Some("/a".into()) };
        is("UNSUBSCRIBE\ndestination:/a\n\n\0", V1_0, by_name);
        fails("UNSUBSCRIBE\ndestination:/a\n\n\0", V1_1, Error::MissingHeader("id"));
        fails("UNSUBSCRIBE\n\n\0", V1_0, Error::MissingHeader("id"));
    }

    #[test]
    fn each_version_names_the_delivery_its_way() {
        let ack = |id: &'static str, subscription: Option<&'static str>| Request::Ack {
            id: id.into(),
            subscription: subscription.map(Cow::Borrowed),
            transaction: None,
        };
        let input = "ACK\nid:1\nmessage-id:2\nsubscription:3\n\n\0";
        is(input, V1_2, ack("1", None));
        is(input, V1_1, ack("2", Some("3")));
        is("ACK\nmessage-id:2\n\n\0", V1_0, ack("2", None));
        fails("ACK\nmessage-id:2\nsubscription:3\n\n\0", V1_2, Error::MissingHeader("id"));
        fails("ACK\nmessage-id:2\n\n\0", V1_1, Error::MissingHeader("subscription"));
        fails("ACK\nsubscription:2\n\n\0", V1_1, Error::MissingHeader("message-id"));
    }

    #[test]
    fn nack_is_accepted_in_1_0() {
        let nack =
            Request::Nack { id: "2".into(), subscription: None, transaction: Some("t".into()) };
        is("NACK\nmessage-id:2\ntransaction:t\n\n\0", V1_0, nack);
    }

    #[test]
    fn transactions_and_disconnect() {
        let transaction = || Cow::Borrowed("t");
        is("BEGIN\ntransaction:t\n\n\0", V1_2, Request::Begin { transaction: transaction() });
        is("COMMIT\ntransaction:t\n\n\0", V1_2, Request::Commit { transaction: transaction() });
        is("ABORT\ntransaction:t\n\n\0", V1_2, Request::Abort { transaction: transaction() });
        is("DISCONNECT\nreceipt:1\n\n\0", V1_2, Request::Disconnect);
        for command in ["BEGIN", "COMMIT", "ABORT"] {
            let input = format!("{command}\n\n\0");
            fails(&input, V1_0, Error::MissingHeader("transaction"));
        }
    }

    /// Catalogue: I03.
    #[test]
    fn ids_are_bounded() {
        let id = "i".repeat(257);
        let long = [
            format!("SUBSCRIBE\nid:{id}\ndestination:/a\n\n\0"),
            format!("BEGIN\ntransaction:{id}\n\n\0"),
            format!("SEND\ndestination:/a\nreceipt:{id}\n\n\0"),
            format!("ACK\nid:{id}\n\n\0"),
        ];
        for input in long {
            fails(&input, V1_2, Error::IdTooLong);
        }
    }

    #[test]
    fn receipts_are_opaque_and_not_for_connect() {
        let read = |input: &str, rules| {
            let (mut table, limits) = (HeaderTable::default(), Limits::default());
            match decode(input.as_bytes(), rules, &limits, &mut table) {
                Ok(Some((Item::Frame(frame), _))) => receipt(&frame).map(Cow::into_owned),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read("SEND\nreceipt:a\\cb\\\\c\n\n\0", V1_2).as_deref(), Some("a:b\\c"));
        assert_eq!(read("SEND\nreceipt:\n\n\0", V1_2).as_deref(), Some(""));
        assert_eq!(read("CONNECT\nreceipt:1\n\n\0", Rules::BeforeConnect), None);
    }
}
