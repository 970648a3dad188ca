//! Which proxy a connection goes through, and the way through it.
//!
//! `http` requests are sent to the proxy whole; for `https` it is asked to `CONNECT`, and TLS runs through. One by
//! [SOCKS](tidemark_ingest::handshake::socks) makes a connection for either. What
//! `no_proxy` means is Go's rule, since that is what configurations and environments are written for:
//!
//! | entry | leaves out |
//! |---|---|
//! | `example.com` | the host and every one below it |
//! | `.example.com`, `*.example.com` | the hosts below it |
//! | `10.0.0.0/8`, `10.1.2.3`, `[::1]` | addresses |
//! | any of them with `:port` | only on that port |
//! | `*` | everything |
//!
//! Where `no_proxy` is given, or the environment decides, `localhost` and loopback addresses are left out as well.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use http::HeaderValue;
use tidemark_ingest::handshake::connect::ConnectAnswer;
use tidemark_ingest::handshake::socks::Socks;

use super::tls::Stream;
use crate::config::http_client::ProxyConfig;

/// Where a connection leads: whether by TLS, host in small letters, port.
pub(crate) type Origin = (bool, String, u16);

/// A proxy and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proxy {
    /// Where it is.
    pub(crate) origin: Origin,
    /// How it is spoken to.
    speaks: Protocol,
}

#[derive(Clone, Debug, PartialEq)]
enum Protocol {
    /// HTTP, with who we are for `Proxy-Authorization`.
    Http(Option<HeaderValue>),
    /// SOCKS 5, with who we are.
    Socks(Option<Login>),
}

/// Who we are.
#[derive(Clone, PartialEq)]
struct Login {
    user: String,
    password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// Which proxy for which origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Option<Exceptions>,
    /// Headers of `CONNECT`, as they go over the wire.
    connect_headers: String,
}

impl Proxies {
    /// As configured; `Err` says what cannot be. `environment` looks a variable up.
    pub(crate) fn of(
        config: &ProxyConfig,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut proxies =
            Proxies { connect_headers: connect_headers(config)?, ..Proxies::default() };
        if let Some(url) = &config.proxy_url {
            let proxy = Proxy::parse(url.reveal()).map_err(|e| format!("proxy_url: {e}"))?;
            proxies.http = Some(proxy.clone());
            proxies.https = Some(proxy);
            proxies.exceptions =
                (!config.no_proxy.is_empty()).then(|| Exceptions::parse(&config.no_proxy));
        } else if config.proxy_from_environment {
            let either =
                |upper: &str, lower: &str| environment(upper).or_else(|| environment(lower));
            let proxy = |upper: &str, lower: &str| match either(upper, lower) {
                Some(url) if !url.is_empty() => {
                    let url = if url.contains("://") { url } else { format!("http://{url}") };
                    Proxy::parse(&url).map(Some).map_err(|e| format!("{upper}: {e}"))
                }
                _ => Ok(None),
            };
            proxies.http = proxy("HTTP_PROXY", "http_proxy")?;
            proxies.https = proxy("HTTPS_PROXY", "https_proxy")?;
            let exceptions = either("NO_PROXY", "no_proxy").unwrap_or_default();
            proxies.exceptions = Some(Exceptions::parse(&exceptions));
        }
        Ok(proxies)
    }

    /// The proxy on the way to `origin`; none if it is reached directly.
    pub(crate) fn toward(&self, origin: &Origin) -> Option<&Proxy> {
        let (secure, host, port) = origin;
        let proxy = if *secure { &self.https } else { &self.http }.as_ref()?;
        let excepted = self.exceptions.as_ref().is_some_and(|e| e.cover(host, *port));
        (!excepted).then_some(proxy)
    }

    /// The proxy that takes the requests to `origin` whole.
    pub(crate) fn relaying(&self, origin: &Origin) -> Option<&Proxy> {
        self.toward(origin).filter(|proxy| !origin.0 && matches!(proxy.speaks, Protocol::Http(_)))
    }

    /// Has the proxy at the other end of `stream` connect to `origin`, unless it takes requests whole; `Err` is what it says.
    pub(crate) async fn connect(
        &self,
        proxy: &Proxy,
        stream: &mut Stream,
        origin: &Origin,
    ) -> Result<(), String> {
        match &proxy.speaks {
            Protocol::Socks(login) => by_socks(stream, login.as_ref(), origin).await,
            Protocol::Http(_) if origin.0 => self.tunnel(proxy, stream, origin).await,
            Protocol::Http(_) => Ok(()),
        }
    }

    /// Asks an HTTP proxy to `CONNECT`, and waits until it has.
    async fn tunnel(
        &self,
        proxy: &Proxy,
        stream: &mut Stream,
        origin: &Origin,
    ) -> Result<(), String> {
        let (_, host, port) = origin;
        let authorization = proxy.authorization().and_then(|v| v.to_str().ok());
        let authorization =
            authorization.map(|v| format!("Proxy-Authorization: {v}\r\n")).unwrap_or_default();
        let request = format!(
            "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}{}\r\n",
            self.connect_headers
        );
        send(stream, request.as_bytes()).await?;
        let (mut answer, mut piece) = (ConnectAnswer::default(), [0; 1024]);
        loop {
            let read = stream.read(&mut piece).await.map_err(|e| e.to_string())?;
            if read == 0 {
                return Err(HUNG_UP.to_owned());
            }
            if answer.take(&piece[..read])? {
                return Ok(());
            }
        }
    }
}

const HUNG_UP: &str = "the proxy hung up";

/// Has the SOCKS proxy at the other end of `stream` connect to `origin`; `Err` is what it says.
async fn by_socks(
    stream: &mut Stream,
    login: Option<&Login>,
    (_, host, port): &Origin,
) -> Result<(), String> {
    let login = login.map(|login| (login.user.as_str(), login.password.as_str()));
    let mut socks = Socks::new(login, host, *port)?;
    let mut step = socks.begin();
    while step.answer_bytes > 0 {
        send(stream, &step.send).await?;
        let mut answer = vec![0; step.answer_bytes];
        let read = stream.read_exact(&mut answer).await;
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => HUNG_UP.to_owned(),
            _ => error.to_string(),
        })?;
        step = socks.answered(&answer)?;
    }
    Ok(())
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(|e| e.to_string())?;
    stream.flush().await.map_err(|e| e.to_string())
}

/// The headers of `CONNECT`; `Err` names one that is none.
fn connect_headers(config: &ProxyConfig) -> Result<String, String> {
    let mut lines = String::new();
    for (name, values) in &config.proxy_connect_header {
        let bad = || format!("proxy_connect_header: {name:?} cannot be sent");
        http::HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
        for value in values {
            let value = HeaderValue::from_str(value.reveal()).map_err(|_| bad())?;
            let text = value.to_str().map_err(|_| bad())?;
            lines.extend([name, ": ", text, "\r\n"]);
        }
    }
    Ok(lines)
}

impl Proxy {
    fn parse(url: &str) -> Result<Self, String> {
        let url = url::Url::parse(url).map_err(|_| "not a valid URL".to_owned())?;
        let (secure, socks, usual_port) = match url.scheme() {
            "http" => (false, false, 80),
            "https" => (true, false, 443),
            "socks5" | "socks5h" => (false, true, 1080),
            other => {
                let known = "only http, https and socks5";
                return Err(format!("a proxy by {other:?} is not supported, {known}"));
            }
        };
        let host = url.host_str().filter(|h| !h.is_empty()).ok_or("no host in the URL")?;
        let port = url.port().unwrap_or(usual_port);
        let decoded = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
        };
        let password = url.password().unwrap_or_default();
        let login = (!url.username().is_empty() || !password.is_empty())
            .then(|| Login { user: decoded(url.username()), password: decoded(password) });
        let origin = (secure, host.to_ascii_lowercase(), port);
        if socks {
            return Ok(Proxy { origin, speaks: Protocol::Socks(login) });
        }
        let authorization = match login {
            None => None,
            Some(Login { user, password }) => {
                let pair = STANDARD.encode(format!("{user}:{password}"));
                let value = HeaderValue::from_str(&format!("Basic {pair}"));
                let mut value = value.map_err(|e| e.to_string())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Proxy { origin, speaks: Protocol::Http(authorization) })
    }

    /// Who we are, for `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        match &self.speaks {
            Protocol::Http(authorization) => authorization.as_ref(),
            Protocol::Socks(_) => None,
        }
    }
}

/// What `no_proxy` leaves out.
#[derive(Clone, Debug, Default)]
struct Exceptions(Vec<(Hosts, Option<u16>)>);

#[derive(Clone, Debug, PartialEq)]
enum Hosts {
    All,
    Named(String),
    Below(String),
    Network(IpAddr, u32),
}

impl Exceptions {
    fn parse(text: &str) -> Self {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Exceptions(entries.map(|entry| Hosts::parse(&entry.to_ascii_lowercase())).collect())
    }

    fn cover(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let local = host == "localhost" || address.is_some_and(|ip| ip.is_loopback());
        local
            || self
                .0
                .iter()
                .any(|(hosts, on)| on.is_none_or(|on| on == port) && hosts.cover(host, address))
    }
}

impl Hosts {
    fn parse(entry: &str) -> (Self, Option<u16>) {
        if entry == "*" {
            return (Hosts::All, None);
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return (Hosts::Network(address, bits), None);
        }
        let whole: Option<IpAddr> = entry.trim_matches(['[', ']']).parse().ok();
        if let Some(address) = whole {
            return (Hosts::Network(address, 128), None);
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse().ok()),
            _ => (entry, None),
        };
        let hosts = match host.trim_matches(['[', ']']).parse() {
            Ok(address) => Hosts::Network(address, 128),
            Err(_) => match host.strip_prefix('*').unwrap_or(host) {
                below if below.starts_with('.') => Hosts::Below(below.to_owned()),
                named => Hosts::Named(named.to_owned()),
            },
        };
        (hosts, port)
    }

    fn cover(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Hosts::All => true,
            Hosts::Named(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Hosts::Below(suffix) => host.ends_with(suffix.as_str()),
            Hosts::Network(network, bits) => {
                address.is_some_and(|address| within(address, *network, *bits))
            }
        }
    }
}

/// Whether the first `bits` bits agree; more bits than there are ask for all.
fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let differing = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= bits.min(if address.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> ProxyConfig {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn toward(proxies: &Proxies, secure: bool, host: &str, port: u16) -> Option<String> {
        proxies.toward(&(secure, host.to_owned(), port)).map(|p| p.origin.1.clone())
    }

    #[test]
    fn no_proxy_follows_gos_rules() {
        let text =
            "example.com, .below.org,*.star.org,10.1.0.0/16,[::2],192.0.2.1:8080,port.net:81";
        let exceptions = Exceptions::parse(text);
        for (host, port, covered) in [
            ("example.com", 80, true),
            ("a.example.com", 80, true),
            ("notexample.com", 80, false),
            ("below.org", 80, false),
            ("a.below.org", 80, true),
            ("a.star.org", 80, true),
            ("10.1.255.1", 80, true),
            ("10.2.0.1", 80, false),
            ("[::2]", 80, true),
            ("192.0.2.1", 80, false),
            ("192.0.2.1", 8080, true),
            ("port.net", 81, true),
            ("port.net", 82, false),
            ("localhost", 1, true),
            ("127.1.2.3", 1, true),
        ] {
            assert_eq!(exceptions.cover(host, port), covered, "{host}:{port}");
        }
        assert!(Exceptions::parse("*").cover("anything", 1));
    }

    #[test]
    fn a_url_alone_is_for_everything() {
        let fixed = config("proxy_url: http://me:p%40ss@proxy:3128");
        let proxies = Proxies::of(&fixed, |_| None).unwrap();
        assert_eq!(toward(&proxies, false, "localhost", 80).as_deref(), Some("proxy"));
        let proxy = proxies.toward(&(true, "a".into(), 443)).unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic bWU6cEBzcw==");
        assert_eq!(proxy.origin, (false, "proxy".to_owned(), 3128));
        let excepted = config("{proxy_url: http://proxy, no_proxy: a}");
        let proxies = Proxies::of(&excepted, |_| None).unwrap();
        assert_eq!(toward(&proxies, false, "localhost", 80), None);
        assert_eq!(toward(&proxies, false, "a", 80), None);
        assert_eq!(toward(&proxies, false, "b", 80).as_deref(), Some("proxy"));
        let socks = Proxies::of(&config("proxy_url: socks5://me@proxy"), |_| None).unwrap();
        let plain = (false, "a".to_owned(), 80);
        assert_eq!(socks.toward(&plain).unwrap().origin.2, 1080);
        assert!(socks.relaying(&plain).is_none());
        let unknown = config("proxy_url: socks4://proxy");
        assert!(Proxies::of(&unknown, |_| None).unwrap_err().contains("not supported"));
    }

    #[test]
    fn the_environment_decides_if_it_is_asked() {
        let variable = |name: &str| match name {
            "HTTP_PROXY" => Some("plain:1".to_owned()),
            "https_proxy" => Some("https://secure".to_owned()),
            "NO_PROXY" => Some("b".to_owned()),
            _ => None,
        };
        let proxies = Proxies::of(&config("proxy_from_environment: true"), variable).unwrap();
        assert_eq!(toward(&proxies, false, "a", 80).as_deref(), Some("plain"));
        assert_eq!(toward(&proxies, true, "a", 443).as_deref(), Some("secure"));
        assert_eq!(toward(&proxies, true, "b", 443), None);
        let silent = Proxies::of(&config("{}"), variable).unwrap();
        assert_eq!(toward(&silent, false, "a", 80), None);
    }

    #[test]
    fn headers_of_connect_are_checked() {
        let good = config("{proxy_url: http://p, proxy_connect_header: {X-A: [b, c]}}");
        assert_eq!(Proxies::of(&good, |_| None).unwrap().connect_headers, "X-A: b\r\nX-A: c\r\n");
        let bad = config("{proxy_url: http://p, proxy_connect_header: {X-A: [\"b\\r\\nc\"]}}");
        assert!(Proxies::of(&bad, |_| None).is_err());
    }
}
