//! What speaks SockJS, and where: the endpoints, made once at the start and shared by all shards.

use crate::config::Config;
use crate::reactor::TICK_MS;
use stompede_core::limits::Limits;
use stompede_core::sockjs::endpoint::Endpoint;
use stompede_core::sockjs::iframe::Iframe;
use stompede_core::sockjs::session::Rules;
use stompede_core::sockjs::url::below_prefix;

/// One endpoint, ready for use.
#[derive(Debug)]
pub struct Service {
    /// The operator's options.
    pub endpoint: Endpoint,
    /// The same for its sessions, in ticks.
    pub rules: Rules,
    /// The page for clients of other sites; none when it is off.
    pub iframe: Option<Iframe>,
}

impl Service {
    /// # Errors
    /// A client URL that cannot stand in the iframe page, in words for the operator.
    pub fn new(endpoint: Endpoint, limits: &Limits) -> Result<Service, String> {
        let rules = Rules::new(&endpoint, limits, TICK_MS as u32);
        let iframe = match endpoint.transports.iframe {
            true => Some(Iframe::new(&endpoint.client_url).ok_or_else(|| {
                format!(
                    "seen sockjs-client-url {:?}, allowed is an http address or a path without \
                     quotes and blanks",
                    endpoint.client_url
                )
            })?),
            false => None,
        };
        Ok(Service { endpoint, rules, iframe })
    }
}

/// All endpoints.
#[derive(Debug, Default)]
pub struct SockJs {
    services: Vec<Service>,
}

impl SockJs {
    /// Those that speak STOMP, one for each of `--sockjs`.
    ///
    /// # Errors
    /// Those of [`Service::new`].
    pub fn new(config: &Config) -> Result<SockJs, String> {
        let endpoint = |prefix: &String| {
            let endpoint = Endpoint { prefix: prefix.clone(), ..config.sockjs.clone() };
            Service::new(endpoint, &config.limits)
        };
        let services = config.sockjs_prefixes.iter().map(endpoint).collect::<Result<_, _>>()?;
        Ok(SockJs { services })
    }

    /// All services, by index.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The service of a percent-encoded path, and the path below its prefix.
    pub fn find<'p>(&self, path: &'p str) -> Option<(usize, &'p str)> {
        let mut all = self.services.iter().enumerate();
        all.find_map(|(index, service)| {
            Some((index, below_prefix(path, &service.endpoint.prefix)?))
        })
    }
}
