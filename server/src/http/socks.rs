//! SOCKS 5 (RFC 1928, with the passwords of RFC 1929): a proxy is asked to connect to a host by its name, which it looks up itself.
//!
//! ```text
//! greeting  05 | number | methods (00 none, 02 password)      -> 05 | method
//! password  01 | length | user | length | password            -> 01 | 00 if right
//! connect   05 01 00 | 03 | length | host | port (big-endian) -> 05 | 00 if done | 00 | kind | address | port
//! ```

use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::proxy::Origin;
use super::tls::Stream;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const BY_PASSWORD: u8 = 2;

/// Who we are.
#[derive(Clone, PartialEq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// What the proxy says of a connection that it cannot make, by the number in its answer.
const FAILURES: [&str; 9] = [
    "succeeded",
    "general SOCKS server failure",
    "connection not allowed by ruleset",
    "network unreachable",
    "host unreachable",
    "connection refused",
    "TTL expired",
    "command not supported",
    "address type not supported",
];

/// Asks the proxy at the other end of `stream` to connect to `origin`, and waits until it has; `Err` is what it says.
pub(crate) async fn connect(
    stream: &mut Stream,
    login: Option<&Login>,
    origin: &Origin,
) -> Result<(), String> {
    let (_, host, port) = origin;
    let methods: &[u8] = if login.is_some() { &[NO_LOGIN, BY_PASSWORD] } else { &[NO_LOGIN] };
    send(stream, &[&[VERSION, methods.len() as u8], methods].concat()).await?;
    match (answer::<2>(stream).await?, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, BY_PASSWORD], Some(login)) => log_in(stream, login).await?,
        ([VERSION, _], _) => return Err("no acceptable authentication methods".to_owned()),
        _ => return Err("the proxy does not speak SOCKS 5".to_owned()),
    }
    let mut request = vec![VERSION, 1, 0, 3];
    request.extend(text(host.trim_matches(['[', ']']), "host")?);
    request.extend(port.to_be_bytes());
    send(stream, &request).await?;
    let [_, reply, _, kind] = answer::<4>(stream).await?;
    if reply != 0 {
        let known = FAILURES.get(usize::from(reply));
        return Err((*known.unwrap_or(&"unknown SOCKS failure")).to_owned());
    }
    let address_bytes = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(answer::<1>(stream).await?[0]),
    };
    let mut bound = vec![0; address_bytes + 2];
    stream.read_exact(&mut bound).await.map_err(|e| hung_up(&e))
}

async fn log_in(stream: &mut Stream, login: &Login) -> Result<(), String> {
    let mut request = vec![1];
    request.extend(text(&login.user, "user name")?);
    request.extend(text(&login.password, "password")?);
    send(stream, &request).await?;
    match answer::<2>(stream).await? {
        [_, 0] => Ok(()),
        _ => Err("username/password authentication failed".to_owned()),
    }
}

/// A text behind its length.
fn text(text: &str, what: &str) -> Result<Vec<u8>, String> {
    let length = u8::try_from(text.len()).map_err(|_| format!("the {what} is too long"))?;
    Ok([&[length], text.as_bytes()].concat())
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(|e| e.to_string())?;
    stream.flush().await.map_err(|e| e.to_string())
}

async fn answer<const N: usize>(stream: &mut Stream) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|e| hung_up(&e))?;
    Ok(bytes)
}

fn hung_up(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the proxy hung up".to_owned(),
        _ => error.to_string(),
    }
}
