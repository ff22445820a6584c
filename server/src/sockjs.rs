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
    /// What its clients may send.
    pub limits: Limits,
    /// The pages that may connect.
    pub origins: OriginPolicy,
    /// Index of the handler's endpoint whose sessions these are; without one it is STOMP.
    pub handler: Option<usize>,
    /// The page for clients of other sites; none when it is off.
    pub iframe: Option<Iframe>,
}

impl Service {
    /// # Errors
    /// In words for the operator: a client URL that cannot stand in the iframe page, and origins
    /// that [`OriginPolicy::parse`] refuses.
    fn new(config: Config, handler: Option<usize>) -> Result<Service, String> {
        let Config { sockjs: endpoint, limits, allowed_origins, .. } = config;
        let origins = endpoint.allowed_origins.as_ref().unwrap_or(&allowed_origins);
        let origins = OriginPolicy::parse(origins)?;
        let rules = Rules::new(&endpoint, &limits, TICK_MS as u32);
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
        Ok(Service { endpoint, rules, limits, origins, handler, iframe })
    }
}

/// How many endpoints there may be: a connection has a byte for the number of its own.
const SERVICES_COUNT_MAX: usize = 254;

/// All endpoints: those of `--sockjs` and `--sockjs-endpoint`, then one for each of a handler.
#[derive(Debug, Default)]
pub struct SockJs {
    services: Vec<Service>,
    stomp_count: usize,
}

impl SockJs {
    /// One that speaks STOMP for each of `--sockjs` and `--sockjs-endpoint`, and one for each of
    /// `handlers`.
    ///
    /// # Errors
    /// Those of an endpoint: a client URL that cannot stand in the iframe page, and origins that
    /// [`OriginPolicy::parse`] refuses; and too many endpoints.
    pub fn new(config: &Config, handlers: &Endpoints) -> Result<SockJs, String> {
        let stomp = config.each_sockjs()?;
        let stomp_count = stomp.len();
        let stomp = stomp.into_iter().map(|own| Service::new(own, None));
        let handlers = handlers.sockjs_options().enumerate().map(|(index, options)| {
            let sockjs = options.unwrap_or(&config.sockjs).clone();
            Service::new(Config { sockjs, ..config.clone() }, Some(index))
        });
        let services = stomp.chain(handlers).collect::<Result<Vec<_>, _>>()?;
        if services.len() > SERVICES_COUNT_MAX {
            return Err(format!(
                "seen {} endpoints for SockJS, limit is {SERVICES_COUNT_MAX}; join some of them",
                services.len()
            ));
        }
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
