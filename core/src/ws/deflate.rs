//! Compression of whole messages: permessage-deflate (RFC 7692 §7.2), without context takeover.
//!
//! Neither side keeps its window from message to message, so one [`Deflater`] per window and one
//! [`Inflater`] serve all connections of a shard, and a connection at rest has neither.
//!
//! A broadcast is compressed once: what its frames have in common goes through a [`Deflater`], and
//! what differs goes before it in a stored block ([`stored_block_header`], RFC 1951 §3.2.4), whose
//! bytes no match refers to. A message that comes in is inflated at once when it is complete, in
//! steps, and is given up as soon as it is larger than its limits allow.

use super::error::Error;
use super::extensions::Window;
use crate::limits::{Limits, WS_INFLATED_BYTES_UNRATED};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// §7.2.1: what a flush ends with, removed from each message and put back before inflating.
const FLUSH_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty last block. Behind the flush's tail it makes the end of the stream coincide with the
/// end of the input, for messages that are whole, and only for them.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// Bytes inflated in one step, between two looks at the limit.
const STEP_BYTES: usize = 16 * 1024;

/// Room that an inflater keeps for the next message.
const KEPT_BYTES: usize = 64 * 1024;

/// Bytes of the header of a stored block.
pub const STORED_HEADER_BYTES: usize = 5;

/// The header of a stored block of `payload_bytes`, not the last one (RFC 1951 §3.2.4). It has to
/// begin on a byte boundary: at the start of a message, or behind another stored block.
pub fn stored_block_header(payload_bytes: u16) -> [u8; STORED_HEADER_BYTES] {
    let ([a, b], [c, d]) = (payload_bytes.to_le_bytes(), (!payload_bytes).to_le_bytes());
    [0, a, b, c, d]
}

/// Compresses messages, each on its own.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
}

impl Deflater {
    /// A compressor for clients that agreed on `window`; some 300 KiB.
    pub fn new(window: Window) -> Deflater {
        let level = Compression::new(LEVEL);
        Deflater { compress: Compress::new_with_window_bits(level, false, window.bits()) }
    }

    /// Compresses `message` into `out`, which is emptied first: the payload of a message, or the
    /// rest of one that begins with stored blocks. False: it cannot be done, send it as it is.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        self.compress.reset();
        out.clear();
        // Nearly always enough for all of it; else another round.
        out.reserve(message.len() / 2 + 64);
        loop {
            let consumed = self.compress.total_in() as usize;
            let rest = message.get(consumed..).unwrap_or_default();
            match self.compress.compress_vec(rest, out, FlushCompress::Sync) {
                // The flush is over when it leaves room (zlib.h, `deflate`).
                Ok(_) if out.len() < out.capacity() => break,
                Ok(_) => out.reserve(out.len().max(64)),
                Err(_) => return false,
            }
        }
        let is_flushed = out.ends_with(&FLUSH_TAIL);
        out.truncate(out.len().saturating_sub(FLUSH_TAIL.len()));
        is_flushed && self.compress.total_in() == message.len() as u64
    }
}

/// Of zlib's levels the one with the best trade for messages of some kilobytes.
const LEVEL: u32 = 6;

/// Inflates messages, each on its own.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    out: Vec<u8>,
    out_bytes: usize,
}

impl Default for Inflater {
    /// With the largest window, which reads what was compressed with any; some 40 KiB.
    fn default() -> Inflater {
        Inflater { decompress: Decompress::new(false), out: Vec::new(), out_bytes: 0 }
    }
}

impl Inflater {
    /// Inflates the joined payloads of a compressed message. The result holds until the next call.
    ///
    /// Limits: `bytes_max` and `ws_message_bytes_max` of the result, and `ws_inflate_ratio_max`
    /// once it is larger than [`WS_INFLATED_BYTES_UNRATED`]. No more than the limit and 16 KiB is
    /// ever inflated.
    ///
    /// # Errors
    /// [`Error::MessageTooBig`], [`Error::InflateRatio`], and [`Error::NotDeflate`] for what is
    /// broken, cut short or followed by other bytes.
    pub fn inflate(
        &mut self,
        payload: &[u8],
        bytes_max: u64,
        limits: &Limits,
    ) -> Result<&mut [u8], Error> {
        self.out_bytes = 0;
        self.out.truncate(KEPT_BYTES);
        self.out.shrink_to(KEPT_BYTES);
        self.decompress.reset(false);
        let size_max = bytes_max.min(limits.ws_message_bytes_max);
        let ratio_max = (payload.len() as u64).saturating_mul(limits.ws_inflate_ratio_max.into());
        let bytes_max = size_max.min(ratio_max.max(WS_INFLATED_BYTES_UNRATED));
        for part in [payload, &FLUSH_TAIL] {
            self.inflate_part(part, bytes_max)?;
            let seen = self.out_bytes as u64;
            if seen > size_max {
                return Err(Error::MessageTooBig { seen, limit: size_max });
            }
            if seen > bytes_max {
                return Err(Error::InflateRatio { limit: limits.ws_inflate_ratio_max });
            }
        }
        let message_bytes = self.out_bytes;
        let is_over = self.inflate_part(&LAST_BLOCK, bytes_max)?;
        // A block that was still open may take our bytes for its own, and end as if by chance.
        if !is_over || self.out_bytes != message_bytes {
            return Err(Error::NotDeflate);
        }
        Ok(&mut self.out[..message_bytes])
    }

    /// Inflates until `part` is used up or more than `bytes_max` is there. Says whether a stream
    /// ends with the last byte of `part`.
    fn inflate_part(&mut self, mut part: &[u8], bytes_max: u64) -> Result<bool, Error> {
        let mut is_over = false;
        loop {
            let room = self.out_bytes + STEP_BYTES;
            if self.out.len() < room {
                self.out.resize(room, 0);
            }
            let (consumed, inflated) = (self.decompress.total_in(), self.decompress.total_out());
            let out = &mut self.out[self.out_bytes..room];
            let status = self.decompress.decompress(part, out, FlushDecompress::None);
            let status = status.map_err(|_| Error::NotDeflate)?;
            part = &part[(self.decompress.total_in() - consumed) as usize..];
            let step_bytes = (self.decompress.total_out() - inflated) as usize;
            self.out_bytes += step_bytes;
            if status == Status::StreamEnd {
                // §7.2.3.4: blocks may have BFINAL set; the message goes on behind them.
                self.decompress.reset(false);
            }
            is_over = status == Status::StreamEnd || (is_over && step_bytes == 0);
            // A step that was not filled has nothing left to give.
            let is_done = part.is_empty() && step_bytes < STEP_BYTES;
            if is_done || self.out_bytes as u64 > bytes_max {
                return Ok(is_over && part.is_empty());
            }
            if status == Status::BufError {
                return Err(Error::NotDeflate);
            }
        }
    }
}

#[cfg(test)]
#[path = "deflate_tests.rs"]
mod tests;
