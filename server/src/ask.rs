//! `tidemark query`: asks a running server and prints what it says, for eyes or (`--json`) for programs.
//!
//! Runs on one ordinary blocking socket: a program that asks one question needs no executor.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use serde_json::Value;
use tidemark_core::runtime::clock;

use crate::cli::{Query, Server};

/// Longest that the server may say nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// Asks, prints, and fails if the server refuses or nobody answers.
pub(crate) fn run(query: &Query) -> ExitCode {
    let (server, path, params) = question(query);
    let answer = ask(&server.url, &path, &params);
    let printed = answer.and_then(|body| {
        if server.json { Ok(String::from_utf8_lossy(&body).into_owned()) } else { readable(&body) }
    });
    match printed {
        Ok(text) => {
            // A reader that has enough closes the pipe: no failure of ours.
            drop(writeln!(io::stdout(), "{}", text.trim_end()));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

type Params = Vec<(&'static str, String)>;

fn question(query: &Query) -> (&Server, String, Params) {
    let now = || format!("{:.3}", clock::now_ms() as f64 / 1000.0);
    let or_now = |time: &Option<String>| time.clone().unwrap_or_else(now);
    match query {
        Query::Instant { server, expression, time } => {
            let params = vec![("query", expression.clone()), ("time", or_now(time))];
            (server, "/api/v1/query".to_owned(), params)
        }
        Query::Range { server, expression, start, end, step } => {
            let end = or_now(end);
            let hour_before = || {
                end.parse::<f64>().map_or_else(|_| end.clone(), |e| format!("{:.3}", e - 3600.0))
            };
            let start = start.clone().unwrap_or_else(hour_before);
            let span = end.parse::<f64>().ok().zip(start.parse::<f64>().ok()).map(|(e, s)| e - s);
            let automatic = || span.map_or(15.0, |s| (s / 250.0).max(1.0)).to_string();
            let step = step.clone().unwrap_or_else(automatic);
            let params =
                vec![("query", expression.clone()), ("start", start), ("end", end), ("step", step)];
            (server, "/api/v1/query_range".to_owned(), params)
        }
        Query::Series { server, selectors } => {
            let params = selectors.iter().map(|s| ("match[]", s.clone())).collect();
            (server, "/api/v1/series".to_owned(), params)
        }
        Query::Labels { server, name: None } => (server, "/api/v1/labels".to_owned(), Vec::new()),
        Query::Labels { server, name: Some(name) } => {
            let name =
                percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            (server, format!("/api/v1/label/{name}/values"), Vec::new())
        }
    }
}

/// The body of the answer, whatever its status: the server says what is wrong in it.
fn ask(server: &str, path: &str, params: &Params) -> Result<Bytes, String> {
    let url = url::Url::parse(server).map_err(|e| format!("--server {server:?}: {e}"))?;
    if url.scheme() != "http" {
        return Err(format!("--server {server:?}: only http is spoken here"));
    }
    let authority = url.authority();
    let stream = url
        .socket_addrs(|| Some(80))
        .and_then(|addresses| TcpStream::connect(&addresses[..]))
        .map_err(|e| format!("{server}: {e}; is the server running?"))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(|e| e.to_string())?;
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let path = format!("{}{path}", url.path().trim_end_matches('/'));
    // Label values are asked for by GET alone.
    let request =
        if params.is_empty() { http::Request::get(path) } else { http::Request::post(path) };
    let request = request
        .header(HOST, authority)
        // hyper reads on after the answer: the end of the connection ends that.
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .map_err(|e| e.to_string())?;
    exchange(stream, request).map_err(|e| format!("{server}: {e}"))
}

fn exchange(stream: TcpStream, request: http::Request<Full<Bytes>>) -> hyper::Result<Bytes> {
    let socket = Blocking { stream, written: false, asked: false };
    block_on(async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await?;
        let asking = async {
            let response = sender.send_request(request).await?;
            Ok(response.into_body().collect().await?.to_bytes())
        };
        match select(Box::pin(asking), Box::pin(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((ended, asking)) => {
                ended?;
                asking.await
            }
        }
    })
}

/// Polls until ready: every wait happens inside a poll, on the blocking socket.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
}

/// A socket whose reads and writes block inside the poll. hyper looks for bytes before it sends any: until the request is out
/// nothing can come, and waiting for it would be for ever.
struct Blocking {
    stream: TcpStream,
    written: bool,
    asked: bool,
}

impl Read for Blocking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        let mut buffer = [0; 16 << 10];
        let room = cursor.remaining().min(buffer.len());
        let read = self.stream.read(&mut buffer[..room])?;
        cursor.put_slice(&buffer[..read]);
        Poll::Ready(Ok(()))
    }
}

impl Write for Blocking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written = true;
        Poll::Ready(self.stream.write(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.asked = self.written;
        Poll::Ready(self.stream.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(std::net::Shutdown::Write))
    }
}

/// One line a value, as `promtool` prints.
fn readable(body: &[u8]) -> Result<String, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| {
        format!("not an answer of the API: {}", String::from_utf8_lossy(body).trim())
    })?;
    if answer["status"] != "success" {
        let text = |field: &str| answer[field].as_str().unwrap_or("").to_owned();
        return Err(format!("{}: {}", text("errorType"), text("error")));
    }
    let mut lines = Vec::new();
    for warning in
        ["warnings", "infos"].iter().flat_map(|k| answer[*k].as_array().into_iter().flatten())
    {
        lines.push(format!("# {}", warning.as_str().unwrap_or("")));
    }
    let data = &answer["data"];
    match data["resultType"].as_str() {
        Some("matrix") => {
            for series in data["result"].as_array().into_iter().flatten() {
                lines.push(format!("{} =>", metric(&series["metric"])));
                let samples = series["values"].as_array().into_iter().flatten();
                lines.extend(samples.map(sample));
                let histograms = series["histograms"].as_array().into_iter().flatten();
                lines.extend(histograms.map(sample));
            }
        }
        Some("vector") => {
            for series in data["result"].as_array().into_iter().flatten() {
                let value = series.get("value").or(series.get("histogram")).unwrap_or(&Value::Null);
                lines.push(format!("{} => {}", metric(&series["metric"]), sample(value)));
            }
        }
        Some(kind) => lines.push(format!("{kind}: {}", sample(&data["result"]))),
        None => {
            for item in data.as_array().into_iter().flatten() {
                lines.push(item.as_str().map_or_else(|| metric(item), str::to_owned));
            }
        }
    }
    Ok(lines.join("\n"))
}

fn sample(pair: &Value) -> String {
    let value = pair[1].as_str().map_or_else(|| pair[1].to_string(), str::to_owned);
    format!("{value} @[{}]", pair[0])
}

fn metric(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs = pairs.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    tidemark_core::model::labels::Labels::from_pairs(pairs).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_lines() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1.5,"1"]}]}}"#;
        assert_eq!(readable(vector.as_bytes()).unwrap(), "up{job=\"a\"} => 1 @[1.5]");
        let matrix = r#"{"status":"success","warnings":["w"],"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"3"]]}]}}"#;
        assert_eq!(readable(matrix.as_bytes()).unwrap(), "# w\n{} =>\n1 @[1]\n3 @[2]");
        assert_eq!(readable(br#"{"status":"success","data":["a","b"]}"#).unwrap(), "a\nb");
        let error = readable(br#"{"status":"error","errorType":"bad_data","error":"no"}"#);
        assert_eq!(error.unwrap_err(), "bad_data: no");
        assert!(readable(b"<html>").unwrap_err().starts_with("not an answer"));
    }

    #[test]
    fn asks_and_reads_the_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"query=up%7B%7D") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            String::from_utf8(request).unwrap()
        });
        let body = ask(&url, "/api/v1/query", &vec![("query", "up{}".to_owned())]).unwrap();
        assert_eq!(body, "ok");
        assert!(
            server.join().unwrap().starts_with("POST /api/v1/query HTTP/1.1\r\nhost: 127.0.0.1:")
        );
    }

    #[test]
    fn nobody_there_is_said() {
        let message = ask("http://127.0.0.1:1", "/", &Vec::new()).unwrap_err();
        assert!(message.contains("is the server running?"), "{message}");
        assert!(ask("https://127.0.0.1:1", "/", &Vec::new()).unwrap_err().contains("only http"));
    }
}
