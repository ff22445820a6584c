//! Where a request body ends (RFC 9112 §6, §7.1), piece by piece.
//!
//! A body is counted or chunked. The decoder keeps no bytes: it says which of the bytes it is given
//! are payload, which are framing, and when the body is over, so that a caller may gather the
//! payload or drop it. Lines of the chunked framing are read strictly, because two parsers that
//! disagree about a chunk's end are a way to smuggle a request.

use super::error::Error;
use super::request::Request;
use crate::limits::Limits;

/// Bytes of a chunk's size line, extensions included. Nobody real sends extensions.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Bytes of all trailer fields together.
const TRAILERS_BYTES_MAX: usize = 4_096;

/// The decoder of one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    state: State,
    /// Payload bytes that may still come.
    allowance_bytes: u64,
    limit_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// That many payload bytes of a counted body are to come.
    Counted(u64),
    /// The line with a chunk's size is to come.
    ChunkSize,
    /// That many bytes of the chunk are to come.
    ChunkData(u64),
    /// The line end after a chunk is to come.
    ChunkEnd,
    /// Trailer fields, of which so many bytes came, or the empty line.
    Trailers(usize),
    /// The next byte belongs to the next request.
    Done,
}

/// What the front of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// Bytes that only delimit; trailer fields are dropped with them.
    Framing,
}

impl Body {
    /// The body that `request` announces.
    ///
    /// # Errors
    /// [`Error::BodyTooLong`] when the announced length is above `http_body_bytes_max`.
    pub fn new(request: &Request<'_>, limits: &Limits) -> Result<Body, Error> {
        let limit_bytes = limits.http_body_bytes_max as u64;
        let state = match (request.is_chunked, request.content_length) {
            (true, _) => State::ChunkSize,
            (false, 0) => State::Done,
            (false, length) => State::Counted(length),
        };
        let body = Body { state, allowance_bytes: limit_bytes, limit_bytes };
        match state {
            State::Counted(length) => body.check_allowance(length).map(|()| body),
            _ => Ok(body),
        }
    }

    /// Is the body over? Then nothing more is to be given to [`Body::next_piece`].
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece from the front of `input`; the number is the bytes consumed, never 0.
    /// `Ok(None)` means more bytes are needed (or the body is over) and nothing was consumed.
    ///
    /// # Errors
    /// Broken framing, or more payload than `http_body_bytes_max`; nothing after it can be read.
    pub fn next_piece<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Piece<'a>, usize)>, Error> {
        match self.state {
            State::Done => Ok(None),
            State::Counted(left) => Ok(self.data(input, left)),
            State::ChunkData(left) => Ok(self.data(input, left)),
            State::ChunkSize => {
                let Some(line) = line(input, CHUNK_LINE_BYTES_MAX, Error::ChunkSize)? else {
                    return Ok(None);
                };
                let size = chunk_size(line).ok_or(Error::ChunkSize)?;
                self.check_allowance(size)?;
                self.state = if size == 0 { State::Trailers(0) } else { State::ChunkData(size) };
                Ok(Some((Piece::Framing, line.len() + 2)))
            }
            State::ChunkEnd => match input {
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkSize;
                    Ok(Some((Piece::Framing, 2)))
                }
                [] | [b'\r'] => Ok(None),
                _ => Err(Error::ChunkEnd),
            },
            State::Trailers(seen) => {
                let room = TRAILERS_BYTES_MAX.saturating_sub(seen);
                let Some(line) = line(input, room, Error::Trailers)? else { return Ok(None) };
                let is_last = line.is_empty();
                let seen = seen + line.len() + 2;
                self.state = if is_last { State::Done } else { State::Trailers(seen) };
                Ok(Some((Piece::Framing, line.len() + 2)))
            }
        }
    }

    fn check_allowance(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.allowance_bytes {
            return Err(Error::BodyTooLong { limit: self.limit_bytes });
        }
        Ok(())
    }

    fn data<'a>(&mut self, input: &'a [u8], left: u64) -> Option<(Piece<'a>, usize)> {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        if count == 0 {
            return None;
        }
        let left = left - count as u64;
        self.allowance_bytes -= count as u64;
        self.state = match (self.state, left) {
            (State::Counted(_), 0) => State::Done,
            (State::Counted(_), left) => State::Counted(left),
            (_, 0) => State::ChunkEnd,
            (_, left) => State::ChunkData(left),
        };
        Some((Piece::Data(&input[..count]), count))
    }
}

/// The line at the front of `input` without its CRLF; `error` if it is longer than `bytes_max` or
/// holds a control byte, as a bare CR or LF.
fn line(input: &[u8], bytes_max: usize, error: Error) -> Result<Option<&[u8]>, Error> {
    let window = &input[..input.len().min(bytes_max.saturating_add(2))];
    let is_plain = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    let end = window.iter().position(|byte| !is_plain(byte)).unwrap_or(window.len());
    match &window[end..] {
        [b'\r', b'\n', ..] => Ok(Some(&window[..end])),
        [] | [b'\r'] if input.len() < bytes_max.saturating_add(2) => Ok(None),
        _ => Err(error),
    }
}

/// RFC 9112 §7.1: `1*HEXDIG`, then nothing or an extension that starts with `;`.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|&byte| byte == b';').next()?;
    // `from_str_radix` takes a leading `+`.
    if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::decode;
    use proptest::prelude::*;

    fn body(headers: &str, limit: usize) -> Result<Body, Error> {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        let limits = Limits { http_body_bytes_max: limit, ..Limits::default() };
        let (request, _) = decode(head.as_bytes(), &limits).unwrap().unwrap();
        Body::new(&request, &limits)
    }

    /// Payload and consumed bytes once the body is over, or what was wrong; `None` if not over.
    fn read(mut body: Body, input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Error> {
        let (mut payload, mut used) = (Vec::new(), 0);
        while let Some((piece, count)) = body.next_piece(&input[used..])? {
            if let Piece::Data(data) = piece {
                payload.extend_from_slice(data);
            }
            used += count;
        }
        Ok(body.is_done().then_some((payload, used)))
    }

    fn chunked(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Error> {
        read(body("Transfer-Encoding: chunked", 100).unwrap(), input)
    }

    #[test]
    fn a_counted_body_ends_where_it_says() {
        let whole = read(body("Content-Length: 3", 3).unwrap(), b"abcGET");
        assert_eq!(whole, Ok(Some((b"abc".to_vec(), 3))));
        assert_eq!(read(body("Content-Length: 3", 3).unwrap(), b"ab"), Ok(None));
        assert!(body("A: b", 3).unwrap().is_done());
        let error = body("Content-Length: 4", 3).unwrap_err();
        assert_eq!((error.status(), error), (413, Error::BodyTooLong { limit: 3 }));
    }

    #[test]
    fn a_chunked_body_ends_after_its_trailers() {
        let input = b"3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET";
        assert_eq!(chunked(input), Ok(Some((b"abc0123456789".to_vec(), input.len() - 3))));
        assert_eq!(chunked(b"0\r\n\r\n"), Ok(Some((Vec::new(), 5))));
        assert_eq!(chunked(b"3\r\nabc\r\n0\r\n"), Ok(None));
    }

    #[test]
    fn c07_bad_chunks_are_refused() {
        for bad in ["0x3", "+3", "-3", " 3", "3 ", "", "g", ";x", "12345678901234567", "3\n", "3\r"]
        {
            assert_eq!(chunked(format!("{bad}\r\nabc").as_bytes()), Err(Error::ChunkSize), "{bad}");
        }
        assert_eq!(chunked(b"3\r\nabcd\r\n"), Err(Error::ChunkEnd));
        assert_eq!(chunked(b"3\r\nabc\n"), Err(Error::ChunkEnd));
        assert_eq!(chunked(b"0\r\nA: b\n\r\n"), Err(Error::Trailers));
        assert_eq!(chunked(&b"1".repeat(300)), Err(Error::ChunkSize));
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(1_000)].concat();
        assert_eq!(chunked(&trailers), Err(Error::Trailers));
    }

    #[test]
    fn the_limit_holds_over_all_chunks_and_before_they_come() {
        let limit = Err(Error::BodyTooLong { limit: 100 });
        assert_eq!(chunked(b"65\r\n"), limit);
        assert_eq!(chunked(b"ffffffffffffffff\r\n"), limit);
        let forty = [b"28\r\n".to_vec(), vec![b'x'; 40], b"\r\n".to_vec()].concat();
        assert_eq!(chunked(&forty.repeat(3)), limit);
        let (payload, _) =
            chunked(&[forty.repeat(2), b"0\r\n\r\n".to_vec()].concat()).unwrap().unwrap();
        assert_eq!(payload.len(), 80);
    }

    proptest! {
        /// Any cut of the input gives the same result.
        #[test]
        fn cuts_make_no_difference(
            chunks in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 1..20), 0..5),
            noise in proptest::option::of((any::<u8>(), any::<prop::sample::Index>())),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\nt: u\r\n\r\n");
            if let Some((byte, place)) = noise {
                let place = place.index(input.len());
                input[place] = byte;
            } else {
                let payload = chunked(&input).unwrap().unwrap().0;
                prop_assert_eq!(payload, chunks.concat());
            }
            let cut = cut.index(input.len());
            let mut body = body("Transfer-Encoding: chunked", 100).unwrap();
            let (mut payload, mut used, mut failed) = (Vec::new(), 0, None);
            for end in [cut, input.len()] {
                loop {
                    match body.next_piece(&input[used..end]) {
                        Ok(None) => break,
                        Ok(Some((piece, count))) => {
                            prop_assert!(count > 0);
                            used += count;
                            if let Piece::Data(data) = piece {
                                payload.extend_from_slice(data);
                            }
                        }
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                }
            }
            let cut_up = match failed {
                Some(error) => Err(error),
                None => Ok(body.is_done().then_some((payload, used))),
            };
            prop_assert_eq!(cut_up, chunked(&input));
        }
    }
}
