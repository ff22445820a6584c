//! Answers to GET and HEAD: files of `--static-dir`, else the embedded demo page, else 404.
//!
//! Runs beside the shard (see [`crate::shard::files`]), because opening and reading files blocks.
//! A file is answered in pieces: [`answer`] gives the head and the first one, [`Rest::read`] the
//! next, so that no more than [`PIECE_BYTES`] of it are in memory, whatever its size.
//!
//! What a path may reach: it is percent-decoded once by the caller, has no `..`, no empty segment
//! and none that starts with a dot, and after all symbolic links are followed it has to be inside
//! the directory. Anything else is 404, as if it did not exist.
//!
//! The directory is resolved anew for each request: replacing a symbolic link to it publishes a new
//! release at once.

use crate::assets;
use crate::config::Config;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use stompede_core::http::conditional::{evaluate, Outcome, Validators};
use stompede_core::http::request::Request;
use stompede_core::http::{accept, date, response};

/// Bytes of an answer that are in memory at a time, head included.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Browsers keep a copy but ask whether it is still good.
const CACHE_CONTROL: (&str, &str) = ("Cache-Control", "no-cache");

const TEXT: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

/// Suffix of a file that is the compressed form of another, and its content coding.
const ENCODINGS: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

/// The next bytes of an answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// Finished wire bytes.
    pub bytes: Vec<u8>,
    /// What follows them.
    pub rest: Option<Rest>,
    /// The rest cannot be read: the connection has to end, as the announced length will not come.
    pub is_broken: bool,
}

/// The part of a file that is still to be sent.
#[derive(Debug)]
pub struct Rest {
    file: File,
    offset: u64,
    left_bytes: u64,
}

impl Rest {
    /// Reads the next piece, of at most [`PIECE_BYTES`].
    pub fn read(self) -> Reply {
        self.read_after(Vec::new())
    }

    /// Appends a piece to `bytes`, up to [`PIECE_BYTES`] in all.
    fn read_after(mut self, mut bytes: Vec<u8>) -> Reply {
        let start = bytes.len();
        let room = PIECE_BYTES.saturating_sub(start) as u64;
        let count = self.left_bytes.min(room);
        bytes.resize(start + count as usize, 0);
        if let Err(error) = self.file.read_exact_at(&mut bytes[start..], self.offset) {
            tracing::warn!(%error, "a file became shorter or unreadable while it was sent");
            return Reply { is_broken: true, ..Reply::default() };
        }
        self.offset += count;
        self.left_bytes -= count;
        let rest = (self.left_bytes > 0).then_some(self);
        Reply { bytes, rest, is_broken: false }
    }
}

/// Checks `--static-dir` at the start.
///
/// # Errors
/// It is not a directory that can be read, in words for the operator.
pub fn check_dir(dir: &Path) -> Result<(), String> {
    fs::read_dir(dir).map(|_| ()).map_err(|error| {
        format!("cannot read static-dir {}: {error}; give a directory", dir.display())
    })
}

/// Answers a GET or HEAD `request` for the decoded `path` from `--static-dir`, or from the demo
/// page.
pub fn answer(request: &Request<'_>, path: &str, config: &Config, keep_alive: bool) -> Reply {
    let answer = Answer { request, keep_alive };
    let dir = config.static_dir.as_deref();
    if let Some(found) = dir.and_then(|dir| Found::open(request, path, dir)) {
        return answer.file(found);
    }
    if dir.is_some_and(|dir| has_index(path, dir)) {
        return answer.moved();
    }
    match assets::find(path) {
        Some(asset) => answer.asset(asset),
        None => answer.not_found(config),
    }
}

/// How to answer one request.
struct Answer<'r, 'a> {
    request: &'r Request<'a>,
    keep_alive: bool,
}

impl Answer<'_, '_> {
    fn file(&self, found: Found) -> Reply {
        let modified = found.modified.map(date::format);
        let mut headers = vec![("ETag", &*found.etag), CACHE_CONTROL, ("Vary", "Accept-Encoding")];
        if let Some(modified) = &modified {
            headers.push(("Last-Modified", modified));
        }
        if let Some(encoding) = found.encoding {
            headers.push(("Content-Encoding", encoding));
        }
        let validators =
            Validators { etag: &found.etag, modified: found.modified, length: found.length };
        let (mut bytes, range) = self.head(&validators, found.content_type, &headers);
        let Some((offset, left_bytes)) = range else {
            return Reply { bytes, ..Reply::default() };
        };
        bytes.reserve(left_bytes.min(PIECE_BYTES as u64) as usize);
        Rest { file: found.file, offset, left_bytes }.read_after(bytes)
    }

    fn asset(&self, asset: &assets::Asset) -> Reply {
        let policy = ("Content-Security-Policy", assets::CONTENT_SECURITY_POLICY);
        let headers = [("ETag", asset.etag), CACHE_CONTROL, policy];
        let length = asset.bytes.len() as u64;
        let validators = Validators { etag: asset.etag, modified: None, length };
        let (mut bytes, range) = self.head(&validators, asset.content_type, &headers);
        if let Some((offset, count)) = range {
            bytes.extend_from_slice(&asset.bytes[offset as usize..][..count as usize]);
        }
        Reply { bytes, ..Reply::default() }
    }

    /// The head, and which bytes follow it: the first one's offset and their number.
    fn head(
        &self,
        file: &Validators<'_>,
        content_type: &str,
        headers: &[(&str, &str)],
    ) -> (Vec<u8>, Option<(u64, u64)>) {
        let outcome = evaluate(self.request, file);
        let content_range = match outcome {
            Outcome::Part { first, last } => format!("bytes {first}-{last}/{}", file.length),
            _ => format!("bytes */{}", file.length),
        };
        let (status, offset, count) = match outcome {
            Outcome::Whole => (200, 0, file.length),
            Outcome::Part { first, last } => (206, first, last - first + 1),
            Outcome::NotModified => (304, 0, 0),
            Outcome::Failed => (412, 0, 0),
            Outcome::Unsatisfiable => (416, 0, 0),
        };
        let mut headers = headers.to_vec();
        if matches!(status, 200 | 206) {
            headers.extend([("Content-Type", content_type), ("Accept-Ranges", "bytes")]);
        } else {
            headers.retain(|(name, _)| *name != "Content-Encoding");
        }
        if matches!(status, 206 | 416) {
            headers.push(("Content-Range", &content_range));
        }
        let mut bytes = Vec::new();
        response::encode_head(&mut bytes, status, &headers, count, self.keep_alive);
        let has_content = self.request.method != "HEAD" && count > 0;
        (bytes, has_content.then_some((offset, count)))
    }

    /// To the same path with a `/` behind it, so that relative links of a directory's page work.
    fn moved(&self) -> Reply {
        let query = self.request.query.map(|query| format!("?{query}")).unwrap_or_default();
        let location = format!("{}/{query}", self.request.path);
        let headers = [("Location", &*location), CACHE_CONTROL, TEXT];
        self.text(301, &headers, "a directory: its path ends with /\n")
    }

    fn not_found(&self, config: &Config) -> Reply {
        let what = match config.static_dir {
            Some(_) => "no such file in --static-dir",
            None => "no such page here",
        };
        let sockjs: String =
            config.sockjs_paths().map(|path| format!(", {path} (SockJS)")).collect();
        let body = format!("{what}; there is / (a page to look at), /ws (WebSocket){sockjs}\n");
        self.text(404, &[TEXT], &body)
    }

    fn text(&self, status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut bytes = Vec::new();
        response::encode_head(&mut bytes, status, headers, body.len() as u64, self.keep_alive);
        if self.request.method != "HEAD" {
            bytes.extend_from_slice(body.as_bytes());
        }
        Reply { bytes, ..Reply::default() }
    }
}

/// An open file and what the answer says about it.
struct Found {
    file: File,
    length: u64,
    /// Seconds since 1970.
    modified: Option<u64>,
    etag: String,
    content_type: &'static str,
    encoding: Option<&'static str>,
}

impl Found {
    /// The file at `path` in `dir`, or the form of it that is compressed as the client likes.
    fn open(request: &Request<'_>, path: &str, dir: &Path) -> Option<Found> {
        let root = fs::canonicalize(dir).ok()?;
        let wanted = root.join(relative(path)?);
        let (mut file, mut length, mut modified) = open_inside(&root, &wanted)?;
        let mut encoding = None;
        for (suffix, coding) in ENCODINGS {
            if !accept::names(request, "accept-encoding", coding) {
                continue;
            }
            let mut compressed = wanted.clone().into_os_string();
            compressed.push(format!(".{suffix}"));
            if let Some(found) = open_inside(&root, Path::new(&compressed)) {
                (file, length, modified) = found;
                encoding = Some(coding);
                break;
            }
        }
        let since_1970 = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let etag = format!(
            "\"{length:x}-{:x}{}\"",
            since_1970.map_or(0, |duration| duration.as_nanos()),
            encoding.map(|coding| format!("-{coding}")).unwrap_or_default()
        );
        let modified = since_1970.map(|duration| duration.as_secs());
        Some(Found { file, length, modified, etag, content_type: content_type(&wanted), encoding })
    }
}

/// Is `path` a directory with a page, written without the `/` at its end?
fn has_index(path: &str, dir: &Path) -> bool {
    let index = relative(path).filter(|_| !path.ends_with('/')).map(|path| path.join("index.html"));
    let root = fs::canonicalize(dir).ok();
    root.zip(index).is_some_and(|(root, index)| open_inside(&root, &root.join(index)).is_some())
}

/// The path below the directory; `None` if it is none that is ever served.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    let path = path.strip_prefix('/')?;
    let (path, is_dir) = match path.strip_suffix('/') {
        Some(path) => (path, true),
        None => (path, path.is_empty()),
    };
    for segment in path.split('/').filter(|_| !path.is_empty()) {
        // An empty one could make the path an absolute one; one with a dot in front is hidden.
        if segment.is_empty() || segment.starts_with('.') || segment.contains('\0') {
            return None;
        }
        relative.push(segment);
    }
    if is_dir {
        relative.push("index.html");
    }
    Some(relative)
}

/// Opens a regular file, if after all symbolic links it is below `root`.
fn open_inside(root: &Path, path: &Path) -> Option<(File, u64, Option<SystemTime>)> {
    let path = fs::canonicalize(path).ok()?;
    if !path.starts_with(root) {
        return None;
    }
    // No link is left in the path; if one comes up meanwhile, or a pipe, it is not waited for.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = file.open(&path).ok()?;
    let metadata = file.metadata().ok()?;
    metadata.is_file().then(|| (file, metadata.len(), metadata.modified().ok()))
}

/// The type that belongs to the extension; bytes of which nothing is known are not guessed at.
fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c19_paths_that_are_never_served() {
        for bad in ["", "x", "//etc/passwd", "/a//b", "/.git/config", "/a/.env", "/..", "/a/../b"] {
            assert_eq!(relative(bad), None, "{bad}");
        }
        for (good, expected) in
            [("/", "index.html"), ("/a/b.js", "a/b.js"), ("/a/", "a/index.html"), ("/a..b", "a..b")]
        {
            assert_eq!(relative(good), Some(PathBuf::from(expected)), "{good}");
        }
    }

    #[test]
    fn types_go_by_the_extension() {
        assert_eq!(content_type(Path::new("a/B.HTML")), "text/html; charset=utf-8");
        assert_eq!(content_type(Path::new("app.min.js")), "text/javascript; charset=utf-8");
        assert_eq!(content_type(Path::new("Makefile")), "application/octet-stream");
    }
}
