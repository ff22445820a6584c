//! What speaks SockJS, and where: the endpoints, made once at the start and shared by all shards.

use crate::config::Config;
use crate::handler::endpoint::Endpoints;
use crate::reactor::TICK_MS;
use stompede_core::http::origin::OriginPolicy;
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
    /// Index of the handler's endpoint whose sessions these are; without one it is STOMP.
    pub handler: Option<usize>,
    /// The page for clients of other sites; none when it is off.
    pub iframe: Option<Iframe>,
    /// Which pages may use it, if not those of the server.
    pub origins: Option<OriginPolicy>,
}

impl Service {
    /// # Errors
    /// An origin that is none, a client URL that cannot stand in the iframe page, in words for the
    /// operator.
    pub fn new(
        endpoint: Endpoint,
        handler: Option<usize>,
        limits: &Limits,
    ) -> Result<Service, String> {
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
        let origins = endpoint.allowed_origins.as_deref().map(OriginPolicy::parse).transpose()?;
        Ok(Service { endpoint, rules, handler, iframe, origins })
    }
}

/// All endpoints: those that speak STOMP, longer prefixes first, then one for each of a handler.
#[derive(Debug, Default)]
pub struct SockJs {
    services: Vec<Service>,
    stomp_count: usize,
}

impl SockJs {
    /// One that speaks STOMP for each of `--sockjs-endpoint` and of `--sockjs`, and one for each of
    /// `handlers`.
    ///
    /// # Errors
    /// Those of [`Service::new`].
    pub fn new(config: &Config, handlers: &Endpoints) -> Result<SockJs, String> {
        let stomp_endpoints = config.sockjs_stomp_endpoints()?;
        let stomp_count = stomp_endpoints.len();
        let stomp = stomp_endpoints
            .into_iter()
            .map(|endpoint| Service::new(endpoint, None, &config.limits));
        let handlers = handlers.sockjs_options().enumerate().map(|(index, options)| {
            let endpoint = options.unwrap_or(&config.sockjs).clone();
            Service::new(endpoint, Some(index), &config.limits)
        });
        let services = stomp.chain(handlers).collect::<Result<_, _>>()?;
        Ok(SockJs { services, stomp_count })
    }

    /// All services, by index.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The service of a percent-encoded path, and the path below its prefix.
    pub fn find<'p>(&self, path: &'p str, handlers: &Endpoints) -> Option<(usize, &'p str)> {
        let mut stomp = self.services[..self.stomp_count].iter().enumerate();
        let found = stomp.find_map(|(index, service)| {
            Some((index, below_prefix(path, &service.endpoint.prefix)?))
        });
        found.or_else(|| {
            let (index, _, below) = handlers.find(path)?;
            Some((self.stomp_count + index, below))
        })
    }
}
