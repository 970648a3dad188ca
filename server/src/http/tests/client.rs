//! The client among servers that follow a script: proxies, tokens, and redirects that want to know too much.

use std::cell::RefCell;

use super::*;
use crate::jobs::client_of;

/// A server that answers as it is told, one request a connection, and what it was asked.
struct Scripted {
    address: String,
    asked: Rc<RefCell<Vec<String>>>,
    _task: Task<()>,
}

fn scripted(answer: impl Fn(&str) -> String + 'static) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let address = listener.local_addr().to_string();
    let asked: Rc<RefCell<Vec<String>>> = Rc::default();
    let notes = Rc::clone(&asked);
    let task = spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap();
            let mut buffer = vec![0; 8192];
            let mut length = 0;
            let text = loop {
                length += stream.read(&mut buffer[length..]).await.unwrap();
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if is_whole(&text) {
                    break text;
                }
            };
            let reply = answer(&text);
            notes.borrow_mut().push(text);
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    Scripted { address, asked, _task: task }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn configured(yaml: &str) -> Rc<Client> {
    client_of(&serde_saphyr::from_str::<HttpClientConfig>(yaml).unwrap()).unwrap()
}

async fn body_of(client: &Client, url: &str) -> Result<String, String> {
    let answer = fetch(client, get(url), 1 << 10, SOON).await.map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

#[test]
fn a_plain_request_goes_to_the_proxy_whole() {
    on_a_core(|_| async {
        let proxy = scripted(|_| ok("by proxy"));
        let yaml = format!("proxy_url: http://me:secret@{}", proxy.address);
        let client = configured(&yaml);
        assert_eq!(body_of(&client, "http://target.test:81/m?a=b").await.unwrap(), "by proxy");
        let asked = proxy.asked.borrow()[0].clone();
        assert!(asked.starts_with("GET http://target.test:81/m?a=b HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nhost: target.test:81\r\n"), "{asked}");
        assert!(asked.contains("\r\nproxy-authorization: Basic bWU6c2VjcmV0\r\n"), "{asked}");
    });
}

#[test]
fn a_secure_request_runs_through_the_proxy() {
    on_a_core(|_| async {
        let (url, target) = secure_target();
        let there: std::net::SocketAddr =
            url.trim_start_matches("https://").trim_end_matches('/').parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let address = listener.local_addr();
        let proxy = spawn(async move {
            let mut inner = listener.accept().await.unwrap();
            let mut buffer = [0; 2048];
            let length = inner.read(&mut buffer).await.unwrap();
            let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let outer = TcpStream::connect(there).await.unwrap();
            inner.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let ((mut a, mut b), (mut c, mut d)) = (inner.split(), outer.split());
            let up = futures_util::io::copy(&mut a, &mut d);
            let down = futures_util::io::copy(&mut c, &mut b);
            let _ = timeout(Duration::from_millis(500), futures_util::future::join(up, down)).await;
            asked
        });
        let ca = include_str!("../../../testdata/tls/ca.pem").replace('\n', "\\n");
        let client = configured(&format!(
            "{{proxy_url: http://{address}, proxy_connect_header: {{X-Team: [a]}}, tls_config: {{ca: \"{ca}\"}}, bearer_token: secret}}"
        ));
        assert_eq!(body_of(&client, &url).await.unwrap(), "ok");
        let asked = proxy.await;
        assert!(asked.starts_with(&format!("CONNECT {there} HTTP/1.1\r\n")), "{asked}");
        assert!(asked.contains("X-Team: a\r\n") && !asked.contains("secret"), "{asked}");
        drop(target);
    });
}

#[test]
fn a_proxy_that_refuses_is_named() {
    on_a_core(|_| async {
        let proxy = scripted(|_| "HTTP/1.1 403 Filtered\r\n\r\n".to_owned());
        let client = configured(&format!("proxy_url: http://{}", proxy.address));
        let error = body_of(&client, "https://target.test/").await.unwrap_err();
        assert_eq!(error, format!("proxy {}: 403 Filtered", proxy.address));
    });
}

#[test]
fn credentials_do_not_follow_to_another_host() {
    on_a_core(|_| async {
        let back: Rc<RefCell<String>> = Rc::default();
        let way_back = Rc::clone(&back);
        let other = scripted(move |_| {
            let to = way_back.borrow().clone();
            format!("HTTP/1.1 302 Found\r\nlocation: http://{to}/end\r\nconnection: close\r\n\r\n")
        });
        let to = other.address.clone();
        let first = scripted(move |asked| match asked {
            end if end.starts_with("GET /end") => ok("end"),
            _ => {
                format!("HTTP/1.1 302 Found\r\nlocation: http://{to}/\r\nconnection: close\r\n\r\n")
            }
        });
        first.address.clone_into(&mut back.borrow_mut());
        let client = configured(
            "{basic_auth: {username: u, password: p}, http_headers: {X-Key: {secrets: [k]}}}",
        );
        assert_eq!(body_of(&client, &format!("http://{}/", first.address)).await.unwrap(), "end");
        let knows = |asked: &str| asked.contains("authorization: ") && asked.contains("x-key: k");
        assert!(knows(&first.asked.borrow()[0]));
        assert!(!other.asked.borrow()[0].contains("x-key") && !knows(&other.asked.borrow()[0]));
        assert!(!knows(&first.asked.borrow()[1]), "nor when it is led back");
    });
}

#[test]
fn tokens_are_fetched_once_and_renewed_before_their_end() {
    on_a_core(|_| async {
        let issued = Rc::new(AtomicUsize::new(0));
        let count = Rc::clone(&issued);
        // The second one and later ones end so soon that they are not used again.
        let tokens = scripted(move |_| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            let life = if n == 0 { 3600 } else { 5 };
            ok(&format!(r#"{{"access_token":"t{n}","token_type":"bearer","expires_in":{life}}}"#))
        });
        let target = scripted(|asked| {
            let line = asked.lines().find(|l| l.starts_with("authorization")).unwrap_or("");
            ok(line)
        });
        let yaml = format!(
            "oauth2: {{client_id: id, client_secret: 's e', scopes: [a, b], token_url: 'http://{}/token', endpoint_params: {{x: y}}}}",
            tokens.address
        );
        let (client, url) = (configured(&yaml), format!("http://{}/", target.address));
        for _ in 0..3 {
            assert_eq!(body_of(&client, &url).await.unwrap(), "authorization: Bearer t0");
        }
        assert_eq!(issued.load(Ordering::Relaxed), 1);
        let asked = tokens.asked.borrow()[0].clone();
        assert!(asked.contains("authorization: Basic aWQ6cytl\r\n"), "{asked}");
        assert!(asked.ends_with("grant_type=client_credentials&x=y&scope=a+b"), "{asked}");
        let client = configured(&yaml);
        for expected in ["t1", "t2"] {
            assert!(body_of(&client, &url).await.unwrap().ends_with(expected));
        }
    });
}

#[test]
fn a_token_server_may_want_the_secret_in_the_body() {
    on_a_core(|_| async {
        let tokens = scripted(|asked| {
            if asked.contains("client_secret=s") {
                ok(r#"{"access_token":"t"}"#)
            } else {
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    .to_owned()
            }
        });
        let target = scripted(|_| ok("fine"));
        let yaml = format!(
            "oauth2: {{client_id: id, client_secret: s, token_url: 'http://{}/'}}",
            tokens.address
        );
        let url = format!("http://{}/", target.address);
        assert_eq!(body_of(&configured(&yaml), &url).await.unwrap(), "fine");
        let wrong = yaml.replace("client_secret: s", "client_secret: wrong");
        let error = body_of(&configured(&wrong), &url).await.unwrap_err();
        assert_eq!(error, "oauth2: cannot fetch token: the token server answered 401 Unauthorized");
    });
}

#[test]
fn bodies_past_the_room_fail_alone() {
    on_a_core(|_| async {
        let server = scripted(|_| ok("12345678"));
        let limits = FetchLimits { body_bytes_max: 100, timeout: SOON, room: Room::default() };
        let client = client(true);
        let answer = client.fetch(get(&format!("http://{}/", server.address)), &limits).await;
        let answer = answer.unwrap();
        assert_eq!(limits.room.held(), 8);
        drop(answer);
        assert_eq!(limits.room.held(), 0);
    });
}
