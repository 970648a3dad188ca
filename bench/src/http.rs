//! A small blocking HTTP/1.1 client: one connection, kept alive, one request at a time.
//!
//! The load generators and the end-to-end tests want to see each byte and each failure themselves, and to cost next to nothing;
//! a client library with pools, retries and a runtime would hide what is measured.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, IoSlice, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// How long a read or write may stall before the request fails.
const STALL_MAX: Duration = Duration::from_mins(5);

/// A server's answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One connection to one server.
pub struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client for `http://host:port`; connects at the first request.
    pub fn new(url: &str) -> io::Result<Self> {
        let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let address = authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self::to(address))
    }

    /// A client for an address.
    pub fn to(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// GET of a path with its query string.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], &[])
    }

    /// Sends a request and reads the whole answer. After an error the next request connects anew; nothing is sent twice.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
        write_all(connection.get_mut(), head.as_bytes(), body)?;
        let (response, keep) = read_response(&mut connection)?;
        if keep {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL_MAX))?;
        stream.set_write_timeout(Some(STALL_MAX))?;
        Ok(BufReader::with_capacity(64 << 10, stream))
    }
}

/// `path?name=value&...` with the values escaped.
pub fn path(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut whole = path.to_owned();
    for (at, (name, value)) in parameters.iter().enumerate() {
        whole.push(if at == 0 { '?' } else { '&' });
        whole.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
        whole.push('=');
        whole.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    whole
}

/// Both parts with one system call where the socket takes them.
fn write_all(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let sent = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
    stream.write_all(head.get(sent..).unwrap_or_default())?;
    stream.write_all(&body[sent.saturating_sub(head.len()).min(body.len())..])
}

/// Reads one answer; also says whether the connection can be used again.
fn read_response(stream: &mut impl BufRead) -> io::Result<(Response, bool)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let status_line = read_line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| invalid(&format!("not a status line: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) =
            line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    let mut keep = response.header("connection") != Some("close");
    if response.header("transfer-encoding") == Some("chunked") {
        read_chunks(stream, &mut response.body)?;
    } else if let Some(length) = response.header("content-length") {
        let length = length.parse().map_err(|_| invalid("content-length is not a number"))?;
        response.body = vec![0; length];
        stream.read_exact(&mut response.body)?;
    } else if status != 204 && status != 304 {
        stream.read_to_end(&mut response.body)?;
        keep = false;
    }
    Ok((response, keep))
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(stream)?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size =
            size.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a bad chunk size"))?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        while !read_line(stream)?.is_empty() {}
        if size == 0 {
            return Ok(());
        }
    }
}

/// A line without its end; an end of the stream is an error.
fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection",
        ));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers_of_every_framing() {
        let check = |text: &str, body: &str, keeps: bool| {
            let (response, keep) = read_response(&mut text.as_bytes()).expect("a valid answer");
            assert_eq!((response.text().as_str(), keep), (body, keeps), "{text:?}");
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", true);
        check("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", "hi", false);
        check("HTTP/1.1 204 No Content\r\n\r\n", "", true);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n";
        check(chunked, "hi!", true);
        check("HTTP/1.1 200 OK\r\n\r\nto the end", "to the end", false);
        assert!(read_response(&mut "HTTP/1.1 200 OK\r\n".as_bytes()).is_err());
        assert!(read_response(&mut "nonsense\r\n\r\n".as_bytes()).is_err());
    }

    #[test]
    fn escapes_parameters() {
        let escaped = path("/q", &[("query", "a{b=\"c\"}[5m]"), ("time", "1.5")]);
        assert_eq!(escaped, "/q?query=a%7Bb%3D%22c%22%7D%5B5m%5D&time=1%2E5");
    }
}
