//! The demo page, embedded in the binary.

/// One embedded file.
pub struct Asset {
    /// MIME type, with the charset.
    pub content_type: &'static str,
    /// Entity tag: changes with every release.
    pub etag: &'static str,
    /// The file.
    pub bytes: &'static [u8],
}

/// What the pages may load and whom they may call: this server and nobody else.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:";

const ETAG: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");

const INDEX: Asset = Asset {
    content_type: "text/html; charset=utf-8",
    etag: ETAG,
    bytes: include_bytes!("../assets/index.html"),
};
const SCRIPT: Asset = Asset {
    content_type: "text/javascript; charset=utf-8",
    etag: ETAG,
    bytes: include_bytes!("../assets/demo.js"),
};
const SOCKJS: Asset = Asset {
    content_type: "text/javascript; charset=utf-8",
    etag: ETAG,
    bytes: include_bytes!("../assets/sockjs.js"),
};
const STYLE: Asset = Asset {
    content_type: "text/css; charset=utf-8",
    etag: ETAG,
    bytes: include_bytes!("../assets/demo.css"),
};

const ICON: Asset = Asset {
    content_type: "image/svg+xml",
    etag: ETAG,
    bytes: include_bytes!("../assets/icon.svg"),
};

/// The file served at `path`.
pub fn find(path: &str) -> Option<&'static Asset> {
    match path {
        "/" | "/index.html" => Some(&INDEX),
        "/demo.js" => Some(&SCRIPT),
        // Browsers ask for the one by themselves and go by its content type.
        "/icon.svg" | "/favicon.ico" => Some(&ICON),
        "/sockjs.js" => Some(&SOCKJS),
        "/demo.css" => Some(&STYLE),
        _ => None,
    }
}
