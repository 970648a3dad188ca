//! A stand-in for ZooKeeper that speaks its protocol: nodes, one watch that fires, a server that cannot be reached.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::found;
use crate::harness::Tidemark;

const NODES: [(&str, &str); 4] = [
    ("/s", ""),
    ("/s/web", "no member"),
    (
        "/s/web/1",
        r#"{"serviceEndpoint": {"host": "127.0.0.1", "port": 1}, "status": "ALIVE", "shard": 0}"#,
    ),
    (
        "/s/web/2",
        r#"{"serviceEndpoint": {"host": "127.0.0.1", "port": 2}, "status": "ALIVE", "shard": 1}"#,
    ),
];

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    [&(payload.len() as u32).to_be_bytes(), payload.as_slice()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

fn number(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

/// The answer to a frame: a session, a pong, data or children.
fn answer(frame: &[u8]) -> Vec<u8> {
    let (xid, operation) = (&frame[..4], number(&frame[4..]));
    let path = || String::from_utf8_lossy(&frame[12..frame.len() - 1]).into_owned();
    match operation {
        0 => framed(&[&[0; 4], &6000_i32.to_be_bytes(), &[0; 8], &text("0123456789abcdef"), &[0]]),
        4 => {
            let data = NODES.iter().find(|(node, _)| *node == path()).expect("a node").1;
            framed(&[xid, &[0; 12], &text(data), &[0; 68]])
        }
        12 => {
            let below = format!("{}/", path());
            let children = NODES.iter().filter_map(|(node, _)| node.strip_prefix(&below));
            let children: Vec<&str> = children.filter(|name| !name.contains('/')).collect();
            let list: Vec<u8> = children.iter().flat_map(|name| text(name)).collect();
            framed(&[xid, &[0; 12], &(children.len() as u32).to_be_bytes(), &list, &[0; 68]])
        }
        _ => framed(&[xid, &[0; 12]]),
    }
}

fn serve(mut stream: TcpStream, fire: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => input.extend_from_slice(&piece[..read]),
            // Nothing was said for a while.
            Err(_) if fire.swap(false, Ordering::Relaxed) => {
                let (event, deleted) = ([0xff; 4], 2_i32.to_be_bytes());
                let event: [&[u8]; 5] =
                    [&event, &[0; 12], &deleted, &3_i32.to_be_bytes(), &text("/s/web/2")];
                stream.write_all(&framed(&event))?;
            }
            Err(_) => {}
        }
        while input.len() >= 4 && input.len() >= 4 + number(&input) as usize {
            let rest = input.split_off(4 + number(&input) as usize);
            let frame = std::mem::replace(&mut input, rest);
            stream.write_all(&answer(&frame[4..]))?;
        }
    }
}

#[test]
fn members_of_a_serverset() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let fire = Arc::new(AtomicBool::new(false));
    let fired = Arc::clone(&fire);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who asks may leave in the middle of it.
            let _ = serve(stream, &fired);
        }
    });
    let servers = format!("servers: ['127.0.0.1:1', '{address}']");
    let tidemark = Tidemark::start(&format!(
        "scrape_configs:\n\
         - {{job_name: found, scrape_interval: 1m, serverset_sd_configs: [{{{servers}, paths: [/s]}}]}}\n"
    ));
    let all: Vec<String> = found(&tidemark, 2).into_iter().collect();
    assert!(
        all[0].contains(r#""__meta_serverset_path":"/s/web/1","__meta_serverset_shard":"0","__meta_serverset_status":"ALIVE""#),
        "{all:#?}"
    );
    let metrics = tidemark.get("/metrics").text();
    assert!(metrics.contains("\nprometheus_treecache_zookeeper_failures_total 1\n"), "{metrics}");
    fire.store(true, Ordering::Relaxed);
    let left = found(&tidemark, 1);
    assert!(left.iter().all(|target| target.contains("/s/web/1")), "{left:#?}");
}
