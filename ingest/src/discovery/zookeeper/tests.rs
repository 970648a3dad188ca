//! A tree against a stand-in that speaks the protocol and fires each watch once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Nodes with their data, and the watches on them.
#[derive(Default)]
struct Server {
    nodes: BTreeMap<String, String>,
    data_watches: BTreeSet<String>,
    child_watches: BTreeSet<String>,
    /// What was not sent yet.
    output: Vec<u8>,
    questions: usize,
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())
}

impl Server {
    fn frame(&mut self, parts: &[&[u8]]) {
        let payload = parts.concat();
        self.output.extend((payload.len() as i32).to_be_bytes());
        self.output.extend(payload);
    }

    fn event(&mut self, kind: i32, path: &str) {
        let length = (path.len() as i32).to_be_bytes();
        let head: [&[u8]; 3] = [&EVENT, &[0; 8], &[0; 4]];
        self.frame(&[
            &head.concat(),
            &kind.to_be_bytes(),
            &3_i32.to_be_bytes(),
            &length,
            path.as_bytes(),
        ]);
    }

    fn set(&mut self, path: &str, data: &str) {
        let new = self.nodes.insert(path.to_owned(), data.to_owned()).is_none();
        if self.data_watches.remove(path) {
            self.event(DATA_CHANGED, path);
        }
        if new && self.child_watches.remove(&parent(path)) {
            self.event(CHILDREN_CHANGED, &parent(path));
        }
    }

    fn delete(&mut self, path: &str) {
        let doomed: Vec<String> = self
            .nodes
            .keys()
            .filter(|one| *one == path || one.starts_with(&format!("{path}/")))
            .cloned()
            .collect();
        for one in doomed.iter().rev() {
            self.nodes.remove(one);
            let watched = self.data_watches.remove(one);
            if self.child_watches.remove(one) || watched {
                self.event(DELETED, one);
            }
            if self.child_watches.remove(&parent(one)) {
                self.event(CHILDREN_CHANGED, &parent(one));
            }
        }
    }

    fn hear(&mut self, frames: Vec<u8>) {
        let mut input = frames;
        while let Some(frame) = jute::next_frame(&mut input).unwrap() {
            let mut reader = Reader(&frame);
            let (xid, operation) = (reader.int().unwrap(), reader.int().unwrap());
            match operation {
                0 => self.frame(&[
                    &0_i32.to_be_bytes(),
                    &4000_i32.to_be_bytes(),
                    &[0; 8],
                    &16_i32.to_be_bytes(),
                    &[7; 17],
                ]),
                11 => self.frame(&[&xid.to_be_bytes(), &[0; 12]]),
                _ => self.answer(xid, operation, &reader.text().unwrap()),
            }
        }
    }

    fn answer(&mut self, xid: i32, operation: i32, path: &str) {
        self.questions += 1;
        let Some(data) = self.nodes.get(path).cloned() else {
            return self.frame(&[&xid.to_be_bytes(), &[0; 8], &NO_NODE.to_be_bytes()]);
        };
        let text = |text: &str| [&(text.len() as i32).to_be_bytes(), text.as_bytes()].concat();
        let record = if operation == GET_DATA {
            self.data_watches.insert(path.to_owned());
            text(&data)
        } else {
            self.child_watches.insert(path.to_owned());
            let children = self.nodes.keys().filter(|one| parent(one) == path);
            let names: Vec<String> = children.map(|one| one[path.len() + 1..].to_owned()).collect();
            let list: Vec<u8> = names.iter().flat_map(|name| text(name)).collect();
            [(names.len() as i32).to_be_bytes().to_vec(), list].concat()
        };
        self.frame(&[&xid.to_be_bytes(), &[0; 12], &record, &[0; 68]]);
    }
}

const EVENT: [u8; 4] = jute::EVENT.to_be_bytes();

/// Lets both speak until nobody has anything to say, `piece` bytes at a time.
fn settle(tree: &mut Tree, server: &mut Server, piece: usize) -> Result<(), String> {
    loop {
        server.hear(tree.output());
        if server.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut server.output);
        for some in output.chunks(piece) {
            tree.receive(some)?;
        }
    }
}

/// What the groups so far come to: addresses by path.
fn merge(all: &mut BTreeMap<String, String>, tree: &mut Tree) {
    for group in tree.changed() {
        match group.targets.first() {
            Some(target) => all.insert(group.source, target["__address__"].clone()),
            None => all.remove(&group.source),
        };
    }
}

fn nerve(port: u16) -> String {
    format!(r#"{{"host": "h", "port": {port}, "name": "n"}}"#)
}

fn tree(members: Members, paths: &[&str]) -> Tree {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    Tree::new(members, &paths)
}

#[test]
fn members_come_change_and_go() {
    let mut server = Server::default();
    for (path, data) in [
        ("/a", "no member"),
        ("/a/s", ""),
        ("/a/s/1", &nerve(1)),
        ("/a/s/2", &nerve(2)),
        ("/b", ""),
    ] {
        server.set(path, data);
    }
    let (mut tree, mut all) = (tree(Members::Nerve, &["/a/"]), BTreeMap::new());
    assert_eq!(tree.timeout_ms(), None);
    tree.begin(10_000);
    settle(&mut tree, &mut server, 3).unwrap();
    assert_eq!((tree.timeout_ms(), tree.complete()), (Some(4000), Ok(true)));
    assert_eq!(server.questions, 2 * 4, "data and children of each node");
    merge(&mut all, &mut tree);
    let expect = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(path, address)| ((*path).to_owned(), (*address).to_owned())).collect()
    };
    assert_eq!(all, expect(&[("/a/s/1", "h:1"), ("/a/s/2", "h:2")]));

    server.set("/a/s/1", &nerve(7));
    server.set("/a/s/3", &nerve(3));
    server.delete("/a/s/2");
    settle(&mut tree, &mut server, 64).unwrap();
    merge(&mut all, &mut tree);
    assert_eq!(all, expect(&[("/a/s/1", "h:7"), ("/a/s/3", "h:3")]));

    // A new session, before which something came and something went.
    server = Server { nodes: server.nodes, ..Server::default() };
    server.delete("/a/s/3");
    server.set("/a/s/4", &nerve(4));
    tree.begin(10_000);
    merge(&mut all, &mut tree);
    assert_eq!(all.len(), 2, "the end of a connection takes nothing away");
    settle(&mut tree, &mut server, 64).unwrap();
    merge(&mut all, &mut tree);
    assert_eq!(all, expect(&[("/a/s/1", "h:7"), ("/a/s/4", "h:4")]));

    server.delete("/a");
    settle(&mut tree, &mut server, 64).unwrap();
    merge(&mut all, &mut tree);
    assert_eq!(all, expect(&[]));
    assert_eq!(tree.complete(), Err("path /a does not exist".to_owned()));
    server.set("/a", &nerve(9));
    tree.ask_for_missing();
    tree.ping();
    settle(&mut tree, &mut server, 64).unwrap();
    merge(&mut all, &mut tree);
    assert_eq!(all, expect(&[("/a", "h:9")]));
    assert_eq!(tree.complete(), Ok(true));
}

#[test]
fn labels_of_members() {
    let data = r#"{"serviceEndpoint": {"host": "h", "port": 8080}, "additionalEndpoints": {"ad-min": {"host": "a", "port": 1}}, "status": "ALIVE", "shard": 3}"#;
    let target = Members::Serverset.target("/s/member_1", data.as_bytes()).unwrap();
    assert_eq!(
        format!("{target:?}"),
        r#"{"__address__": "h:8080", "__meta_serverset_endpoint_host": "h", "__meta_serverset_endpoint_host_ad_min": "a", "__meta_serverset_endpoint_port": "8080", "__meta_serverset_endpoint_port_ad_min": "1", "__meta_serverset_path": "/s/member_1", "__meta_serverset_shard": "3", "__meta_serverset_status": "ALIVE"}"#
    );
    let target = Members::Nerve.target("/n/1", nerve(7).as_bytes()).unwrap();
    assert_eq!(
        format!("{target:?}"),
        r#"{"__address__": "h:7", "__meta_nerve_endpoint_host": "h", "__meta_nerve_endpoint_name": "n", "__meta_nerve_endpoint_port": "7", "__meta_nerve_path": "/n/1"}"#
    );
    for garbage in ["", "[]", "{", "7", r#"{"port": "x"}"#] {
        assert_eq!(Members::Nerve.target("/", garbage.as_bytes()), None, "{garbage}");
    }
}

#[test]
fn garbage_is_refused() {
    let welcome = |timeout: i32| {
        [
            &37_i32.to_be_bytes()[..],
            &[0; 4],
            &timeout.to_be_bytes(),
            &[0; 8],
            &16_i32.to_be_bytes(),
            &[0; 17],
        ]
        .concat()
    };
    let reply = |xid: i32, error: i32| {
        [&16_i32.to_be_bytes()[..], &xid.to_be_bytes(), &[0; 8], &error.to_be_bytes()].concat()
    };
    for (bytes, expected) in [
        (welcome(0), "refuses the session"),
        (vec![0xff; 4], "longer than"),
        (vec![0x7f, 0, 0, 0], "longer than"),
        (vec![0, 0, 0, 1, 0], "middle of a record"),
        ([welcome(9), reply(7, 0)].concat(), "was not asked"),
        ([welcome(9), reply(1, -102)].concat(), "path /a may not be read"),
        ([welcome(9), reply(1, -4)].concat(), "error -4"),
        ([welcome(9), reply(1, 0)].concat(), "middle of a record"),
    ] {
        let mut tree = tree(Members::Nerve, &["/a"]);
        tree.begin(1);
        let error = tree.receive(&bytes).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    /// Whatever happens, and whenever the tree hears of it, it comes to know what there is.
    #[test]
    fn it_comes_to_know_what_there_is(
        steps in prop::collection::vec((0..4_u8, prop::collection::vec(0..3_u8, 1..4), 0..5_u16), 1..40)
    ) {
        let (mut tree, mut server, mut all) = (tree(Members::Nerve, &["/r"]), Server::default(), BTreeMap::new());
        server.set("/r", "");
        tree.begin(1);
        for (what, names, port) in steps {
            let mut path = "/r".to_owned();
            for name in names {
                path = format!("{path}/{name}");
                if what < 2 {
                    let data = server.nodes.get(&path).cloned().unwrap_or_default();
                    server.set(&path, &data);
                }
            }
            match what {
                0 | 1 => server.set(&path, &nerve(port)),
                2 => server.delete(&path),
                _ => {
                    server.hear(tree.output());
                    let output = std::mem::take(&mut server.output);
                    tree.receive(&output).unwrap();
                }
            }
            if port == 4 && what == 3 {
                server = Server { nodes: server.nodes, ..Server::default() };
                tree.begin(1);
            }
        }
        settle(&mut tree, &mut server, 1000).unwrap();
        merge(&mut all, &mut tree);
        let there: BTreeMap<String, String> = server.nodes.iter().filter_map(|(path, data)| {
            let target = Members::Nerve.target(path, data.as_bytes())?;
            Some((path.clone(), target["__address__"].clone()))
        }).collect();
        prop_assert_eq!(all, there);
    }
}
