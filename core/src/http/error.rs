//! Why an HTTP request head was refused, and the status that says so.
//!
//! Grouped by blame: the wrong protocol on this port, a malformed head, a framing of the body that
//! two parsers could read differently (RFC 9112 §6.3), a bad Host (RFC 9112 §3.2), and limits
//! (RFC 9110 §15.5.15, RFC 6585 §5). After any of them the connection is closed: where the next
//! request would start is not known.

use std::fmt;

/// A refused request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    // The wrong protocol.
    /// The first byte starts a TLS handshake record: the peer speaks TLS to a plain port.
    TlsOnPlainPort,
    /// The command line of a STOMP client's first frame.
    StompOnHttpPort,
    /// The HTTP/2 connection preface; only HTTP/1.x is offered here.
    Http2Preface,
    // A malformed head.
    /// A line ended by LF alone.
    BareLineFeed,
    /// A CR that is not followed by LF.
    BareCarriageReturn,
    /// A header line that starts with a blank: a folded line (RFC 9112 §5.2).
    ObsoleteFold,
    /// A control byte, NUL included.
    ControlByte(u8),
    /// The first line is not `METHOD SP target SP HTTP/1.x`.
    RequestLine,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// The target is neither a path nor an absolute `http` URI (nor `*` of OPTIONS), has a
    /// fragment, or bytes outside ASCII.
    Target,
    /// A header line is not `name: value`.
    HeaderLine,
    // Where the body ends is in doubt.
    /// A `Content-Length` that is not a plain decimal number.
    ContentLength,
    /// More than one `Content-Length`, equal ones too.
    ContentLengthRepeated,
    /// `Content-Length` together with `Transfer-Encoding`.
    LengthAndEncoding,
    /// A `Transfer-Encoding` other than exactly `chunked`, or any in HTTP/1.0.
    TransferEncoding,
    /// A chunk's size line that is not hexadecimal digits and extensions within 256 bytes.
    ChunkSize,
    /// A chunk that is not followed by CRLF.
    ChunkEnd,
    /// Trailer fields that are malformed or have more than 4,096 bytes.
    Trailers,
    // Host.
    /// No `Host` in an HTTP/1.1 request.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` that is not `name[:port]`.
    HostInvalid,
    // Expectations.
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    Expectation,
    // Limits.
    /// The body has more bytes than `http_body_bytes_max`.
    BodyTooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// The request line has more bytes than `http_request_line_bytes_max`.
    RequestLineTooLong {
        /// Bytes seen so far.
        seen: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The head has more bytes than `http_head_bytes_max`.
    HeadTooLong {
        /// Bytes seen so far.
        seen: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The head has more fields than `http_headers_count_max`.
    TooManyHeaders {
        /// Fields seen so far.
        seen: usize,
        /// The limit in fields.
        limit: usize,
    },
}

impl Error {
    /// The status code of the answer: 400, 413, 414, 417 or 431.
    pub fn status(&self) -> u16 {
        match self {
            Error::BodyTooLong { .. } => 413,
            Error::Expectation => 417,
            Error::RequestLineTooLong { .. } => 414,
            Error::HeadTooLong { .. } | Error::TooManyHeaders { .. } => 431,
            _ => 400,
        }
    }

    /// The phrase that belongs to [`Error::status`] in a status line.
    pub fn reason(&self) -> &'static str {
        super::response::reason(self.status())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::TlsOnPlainPort => "seen a tls handshake on a plain port",
            Error::StompOnHttpPort => {
                "seen a stomp frame on the http port: use the stomp port, or stomp over websocket"
            }
            Error::Http2Preface => "seen the http/2 preface, only http/1.1 is spoken here",
            Error::BareLineFeed => "seen a line end without carriage return",
            Error::BareCarriageReturn => "seen a carriage return without line feed",
            Error::ObsoleteFold => "seen a folded header line",
            Error::ControlByte(byte) => return write!(f, "seen control byte 0x{byte:02x} in head"),
            Error::RequestLine => "seen a malformed request line",
            Error::Version => "seen an http version other than 1.0 and 1.1",
            Error::Target => "seen a request target that is neither a path nor an http uri",
            Error::HeaderLine => "seen a malformed header line",
            Error::ContentLength => "seen a content-length that is not a decimal number",
            Error::ContentLengthRepeated => "seen more than one content-length",
            Error::LengthAndEncoding => "seen both content-length and transfer-encoding",
            Error::TransferEncoding => "seen a transfer-encoding other than chunked",
            Error::ChunkSize => "seen a malformed chunk size",
            Error::ChunkEnd => "seen a chunk without line end",
            Error::Trailers => "seen malformed trailer fields",
            Error::Expectation => "seen an expectation other than 100-continue",
            Error::BodyTooLong { limit } => {
                return write!(f, "seen a longer request body, limit is {limit} bytes");
            }
            Error::HostMissing => "seen no host header",
            Error::HostRepeated => "seen more than one host header",
            Error::HostInvalid => "seen a host header that is not name[:port]",
            Error::RequestLineTooLong { seen, limit } => {
                return write!(f, "seen {seen} bytes of request line, limit is {limit}");
            }
            Error::HeadTooLong { seen, limit } => {
                return write!(f, "seen {seen} bytes of head, limit is {limit}");
            }
            Error::TooManyHeaders { seen, limit } => {
                return write!(f, "seen {seen} header fields, limit is {limit}");
            }
        };
        f.write_str(text)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_their_own_status() {
        let line = Error::RequestLineTooLong { seen: 5_000, limit: 4_096 };
        assert_eq!((line.status(), line.reason()), (414, "URI Too Long"));
        assert_eq!(line.to_string(), "seen 5000 bytes of request line, limit is 4096");
        let head = Error::HeadTooLong { seen: 8_193, limit: 8_192 };
        assert_eq!((head.status(), head.reason()), (431, "Request Header Fields Too Large"));
        assert_eq!(Error::TooManyHeaders { seen: 65, limit: 64 }.status(), 431);
        assert_eq!(
            (Error::HostMissing.status(), Error::HostMissing.reason()),
            (400, "Bad Request")
        );
    }
}
