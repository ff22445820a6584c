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
        /// Not empty, no control characters, within its limit.
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
        if seen == 0 || destination.chars().any(char::is_control) {
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
        // Ignoring it would deliver messages that the client did not ask for.
        if self.frame.header("selector").is_some_and(|selector| !selector.is_empty()) {
            return Err(Error::SelectorUnsupported);
        }
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
