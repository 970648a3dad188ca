//! Listener and client against each other and against hostile peers, over real sockets.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use http::header::{HeaderValue, LOCATION};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tidemark_core::runtime::executors::{self, CoreContext};
use tidemark_core::runtime::net::{TcpListener, TcpStream};
use tidemark_core::runtime::{Task, sleep, spawn, timeout};

use tidemark_ingest::scrape::FetchLimits;
use tidemark_ingest::scrape::room::Room;

use super::answer::{Answer, Reply};
use super::body::BodyBudget;
use super::client::{Client, ClientError, ClientOptions};
use super::identity::Identity;
use super::life::Busy;
use super::listener::{ListenerCounters, ListenerOptions, serve};
use super::proxy::Proxies;
use super::seats::Seats;
use super::tls::Connector;
use crate::config::http_client::{HttpClientConfig, TlsConfig};

mod client;

const SOON: Duration = Duration::from_secs(5);

fn on_a_core<F, Fut>(test: F)
where
    F: Fn(CoreContext) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let options = executors::Options { cores: 1, pin: false, ..executors::Options::default() };
    executors::run(&options, dir.path(), test).unwrap();
}

async fn respond(request: Request<Incoming>, busy: Busy) -> http::Response<Reply> {
    let headers = request.headers().clone();
    let answer = match request.uri().path() {
        "/long" => Answer::text("word ".repeat(50_000)),
        "/moved" => {
            Answer::empty(StatusCode::FOUND).with(LOCATION, HeaderValue::from_static("/long?again"))
        }
        "/loop" => {
            Answer::empty(StatusCode::FOUND).with(LOCATION, HeaderValue::from_static("/loop"))
        }
        "/slow" => {
            sleep(Duration::from_mins(1)).await;
            Answer::text("late")
        }
        "/query" => {
            Answer::text(format!("{} {:?}", request.uri().query().unwrap_or(""), headers["host"]))
        }
        "/echo" => match BodyBudget::new().read(request.into_body(), 1000, SOON).await {
            Ok(held) => Answer::text(held.bytes),
            Err(error) => error.answer(),
        },
        other => Answer::text(format!("{other} {:?}", headers.get("authorization"))),
    };
    answer.compressed_for(&headers).await.into_response(busy)
}

struct Running {
    url: String,
    counters: Rc<ListenerCounters>,
    task: Task<()>,
}

fn start(ctx: &CoreContext, connections_max: usize) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let url = format!("http://{}", listener.local_addr());
    let counters = Rc::<ListenerCounters>::default();
    let options = ListenerOptions { connections_max, idle_max: Duration::from_mins(1) };
    let task = spawn(serve(
        listener,
        Seats::new(1).join(0),
        options,
        ctx.stop.clone(),
        Rc::clone(&counters),
        respond,
    ));
    Running { url, counters, task }
}

fn client(follow_redirects: bool) -> Rc<Client> {
    Client::new(ClientOptions {
        identity: Identity::of(&HttpClientConfig::default()).unwrap(),
        tokens: None,
        connector: Connector::of(&TlsConfig::default()),
        proxies: Proxies::default(),
        follow_redirects,
    })
}

async fn fetch(
    client: &Client,
    request: Request<Bytes>,
    body_bytes_max: usize,
    timeout: Duration,
) -> Result<http::Response<Bytes>, ClientError> {
    let limits = FetchLimits { body_bytes_max, timeout, room: Room::default() };
    client.fetch(request, &limits).await
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

#[test]
fn fetches_with_kept_connections_gzip_and_redirects() {
    on_a_core(|ctx| async move {
        let server = start(&ctx, 8);
        let client = client(true);
        for _ in 0..3 {
            let answer =
                fetch(&client, get(&format!("{}/moved", server.url)), 1 << 20, SOON).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.body().len(), 250_000);
        }
        assert_eq!(server.counters.accepted.get(), 1, "one connection for all");
        let fetched = async |path: &str, max: usize| {
            let request = get(&format!("{}{path}", server.url));
            fetch(&client, request, max, Duration::from_millis(200)).await
        };
        assert!(matches!(fetched("/long", 249_999).await, Err(ClientError::BodyTooLarge)));
        assert!(matches!(fetched("/loop", 10).await, Err(ClientError::Redirects)));
        assert!(matches!(fetched("/slow", 10).await, Err(ClientError::Timeout)));
        let unfollowed = self::client(false);
        let answer =
            fetch(&unfollowed, get(&format!("{}/moved", server.url)), 10, SOON).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND);
        let nobody = fetch(&client, get("http://127.0.0.1:1/"), 10, SOON).await.unwrap_err();
        assert!(nobody.to_string().starts_with("dial tcp 127.0.0.1:1: connect: "), "{nobody}");
        assert!(matches!(
            fetch(&client, get("ftp://x/"), 10, SOON).await,
            Err(ClientError::Url(_))
        ));
        ctx.stop.stopper().stop();
        timeout(SOON, server.task).await.unwrap();
    });
}

#[test]
fn all_connections_of_a_target_are_kept() {
    on_a_core(|ctx| async move {
        let server = start(&ctx, 8);
        let client = client(true);
        for _ in 0..3 {
            let url = format!("{}/a", server.url);
            let both = [(); 2].map(|()| fetch(&client, get(&url), 100, SOON));
            for response in futures_util::future::join_all(both).await {
                assert_eq!(response.unwrap().status(), StatusCode::OK);
            }
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(server.counters.accepted.get(), 2);
        drop(client);
        ctx.stop.stopper().stop();
        timeout(SOON, server.task).await.unwrap();
    });
}

#[test]
fn a_kept_connection_that_died_is_replaced() {
    on_a_core(|_| async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let url = format!("http://{}/", listener.local_addr());
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let target = spawn(async move {
            loop {
                let mut stream = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        });
        let client = client(true);
        for _ in 0..3 {
            assert_eq!(fetch(&client, get(&url), 10, SOON).await.unwrap().body(), "ok");
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(accepted.load(Ordering::Relaxed), 3);
        drop(target);
    });
}

#[test]
fn answers_that_are_none_are_errors() {
    on_a_core(|_| async {
        for (bytes, expected) in [
            ("", "EOF"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "EOF"),
            ("SSH-2.0-OpenSSH\r\n", "invalid"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
            let url = format!("http://{}/", listener.local_addr());
            let target = spawn(async move {
                let mut stream = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await.unwrap();
                stream.write_all(bytes.as_bytes()).await.unwrap();
            });
            let error = fetch(&client(true), get(&url), 10, SOON).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{bytes:?}: {error}");
            target.await;
        }
    });
}

async fn raw(url: &str, bytes: &[u8]) -> String {
    let address = url.trim_start_matches("http://").parse().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut text = Vec::new();
    let _ = timeout(Duration::from_millis(300), stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn hostile_requests_get_a_status_and_no_more() {
    on_a_core(|ctx| async move {
        let server = start(&ctx, 8);
        let huge = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(100_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500));
        for (bytes, status) in [
            ("NONSENSE\r\n\r\n".to_owned(), "400"),
            (huge, "431"),
            (many, "431"),
            ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n".to_owned(), "400"),
            ("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n".to_owned(), "413"),
            ("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(), "200"),
            (format!("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800)), "413"),
            ("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n".to_owned(), "400"),
        ] {
            let answer = raw(&server.url, bytes.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:.60}: {answer:.80}");
        }
        let fine =
            raw(&server.url, b"GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(fine.ends_with("/x None"), "{fine}");
        let quoted = b"GET /query?query=up{a=\"b\",c<>\"\"} HTTP/1.1\r\nhost: \"x\"\r\nconnection: close\r\n\r\n";
        let quoted = raw(&server.url, quoted).await;
        assert!(quoted.ends_with(r#"up{a=%22b%22,c%3C%3E%22%22} "\"x\"""#), "{quoted}");
        ctx.stop.stopper().stop();
        timeout(SOON, server.task).await.unwrap();
    });
}

#[test]
fn idle_connections_make_room() {
    on_a_core(|ctx| async move {
        let server = start(&ctx, 2);
        let address = server.url.trim_start_matches("http://").parse().unwrap();
        let mut idle = Vec::new();
        for _ in 0..4 {
            idle.push(TcpStream::connect(address).await.unwrap());
            sleep(Duration::from_millis(5)).await;
        }
        let client = client(true);
        let answer = fetch(&client, get(&format!("{}/x", server.url)), 100, SOON).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(server.counters.evicted.get() >= 3, "{:?}", server.counters);
        ctx.stop.stopper().stop();
        timeout(SOON, server.task).await.unwrap();
    });
}

#[test]
fn stop_lets_a_request_end() {
    on_a_core(|ctx| async move {
        let server = start(&ctx, 8);
        let listener_url = server.url.clone();
        let asking = spawn(async move {
            let request =
                Request::post(format!("{listener_url}/echo")).body(Bytes::from("hello")).unwrap();
            fetch(&client(true), request, 100, SOON).await
        });
        sleep(Duration::from_millis(1)).await;
        ctx.stop.stopper().stop();
        timeout(SOON, server.task).await.unwrap();
        // Either it came before the stop and was answered, or it found nobody.
        if let Ok(answer) = asking.await {
            assert_eq!(answer.body(), "hello");
        }
    });
}

/// A target with the certificate of `testdata/tls`, which names `127.0.0.1` and `target.test`.
fn secure_target() -> (String, Task<()>) {
    let certificates =
        CertificateDer::pem_slice_iter(include_bytes!("../../testdata/tls/server.pem"));
    let key =
        PrivateKeyDer::from_pem_slice(include_bytes!("../../testdata/tls/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let url = format!("https://{}/", listener.local_addr());
    let target = spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap()).await else {
                continue;
            };
            let mut buffer = [0; 1024];
            if stream.read(&mut buffer).await.is_ok() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
    });
    (url, target)
}

#[test]
fn trust_is_as_configured() {
    on_a_core(|_| async {
        let (url, target) = secure_target();
        let ca = include_str!("../../testdata/tls/ca.pem").to_owned();
        let trusting = TlsConfig { ca, ..TlsConfig::default() };
        for (tls_config, expected) in [
            (trusting.clone(), Ok(())),
            (TlsConfig { server_name: "target.test".into(), ..trusting.clone() }, Ok(())),
            (TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() }, Ok(())),
            (TlsConfig { max_version: "TLS12".into(), ..trusting.clone() }, Ok(())),
            (TlsConfig::default(), Err("UnknownIssuer")),
            (
                TlsConfig { server_name: "other.test".into(), ..trusting.clone() },
                Err("not valid for"),
            ),
            (TlsConfig { ca: "no".into(), ..TlsConfig::default() }, Err("ca has no certificate")),
            (TlsConfig { ca_file: "/no/such".into(), ..TlsConfig::default() }, Err("/no/such")),
            (TlsConfig { max_version: "TLS11".into(), ..trusting }, Err("no TLS version")),
        ] {
            let client = Client::new(ClientOptions {
                identity: Identity::of(&HttpClientConfig::default()).unwrap(),
                tokens: None,
                connector: Connector::of(&tls_config),
                proxies: Proxies::default(),
                follow_redirects: true,
            });
            let answer = fetch(&client, get(&url), 10, SOON).await;
            match (&answer, expected) {
                (Ok(answer), Ok(())) => assert_eq!(answer.body(), "ok"),
                (Err(ClientError::Tls(error)), Err(part)) => {
                    assert!(error.contains(part), "{error}");
                }
                _ => panic!("{answer:?} instead of {expected:?}"),
            }
        }
        drop(target);
    });
}
