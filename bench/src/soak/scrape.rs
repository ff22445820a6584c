//! Reads the server's own counters: a GET of its `/metrics`, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// Patience with the server's admin listener.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of a page.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// Where the counters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    host: String,
    path: String,
}

impl Source {
    /// Reads `http://host:port/metrics`.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(url: &str) -> Result<Source, String> {
        let rest = url.strip_prefix("http://").filter(|rest| rest.contains(':'));
        let rest = rest.ok_or_else(|| format!("seen `{url}`; write http://host:port/metrics"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        Ok(Source { host: host.into(), path: format!("/{path}") })
    }

    /// Where that is, and the path there.
    ///
    /// # Errors
    /// The name has no address.
    pub fn locate(&self) -> Result<(SocketAddr, &str), String> {
        let explain = |error| format!("http://{}{}: {error}", self.host, self.path);
        let mut addresses = self.host.to_socket_addrs().map_err(explain)?;
        let address = addresses.next().ok_or_else(|| format!("`{}` has no address", self.host))?;
        Ok((address, &self.path))
    }

    /// Every series with its value.
    ///
    /// # Errors
    /// Why there is no page.
    pub fn read(&self) -> Result<BTreeMap<String, f64>, String> {
        let explain = |error: std::io::Error| format!("http://{}{}: {error}", self.host, self.path);
        let (address, _) = self.locate()?;
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(explain)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(explain)?;
        let Source { host, path } = self;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(explain)?;
        let mut page = String::new();
        stream.take(PAGE_BYTES_MAX).read_to_string(&mut page).map_err(explain)?;
        match page.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(series(body)),
            _ => {
                Err(format!("http://{host}{path}: {}", page.lines().next().unwrap_or("no answer")))
            }
        }
    }
}

/// Lines of a name, perhaps with labels, and a number; others say what they mean.
pub(crate) fn series<T: FromStr>(body: &str) -> BTreeMap<String, T> {
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_names_with_numbers() {
        let page = "# HELP x y\n# TYPE x gauge\nx 3\ny_total{reason=\"a b\"} 1.5\nbad\n# EOF\n";
        let read = series::<f64>(page);
        assert_eq!((read.len(), read["x"], read["y_total{reason=\"a b\"}"]), (2, 3.0, 1.5));
    }

    #[test]
    fn only_http_urls_with_a_port_are_sources() {
        let source = Source { host: "127.0.0.1:9".into(), path: "/metrics".into() };
        assert_eq!(Source::parse("http://127.0.0.1:9"), Ok(source.clone()));
        assert_eq!(Source::parse("http://127.0.0.1:9/metrics"), Ok(source));
        assert!(
            Source::parse("https://127.0.0.1:9").is_err() && Source::parse("http://x").is_err()
        );
    }
}
