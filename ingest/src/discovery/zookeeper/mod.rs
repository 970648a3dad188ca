//! `serverset_sd` and `nerve_sd`: the nodes below some paths in ZooKeeper, each a target if its data are a member's.
//!
//! A [`Tree`] is told what a server says and says what to send; it opens no connection. A session begins with a walk:
//!
//! ```text
//! hello ─▶ welcome ─▶ each path: data, with a watch ─▶ children, with a watch ─▶ each child the same ...
//! event of data ─▶ data again        event of children ─▶ children again        node deleted ─▶ it and those below are gone
//! ```
//!
//! A connection that ends takes nothing away. The next one is a new session whose walk asks for everything, since the watches of the
//! old one are gone; what it has not met by its end is gone. Watches and answers of one session come in the order in which
//! things happened, so that what was asked after an event is at least as new.
//!
//! The client is 300 lines, since those that others have written bring a runtime or a logging of their own, and none fits a client
//! that only reads.

mod jute;
mod members;

use std::collections::{BTreeSet, VecDeque};

use self::jute::{GET_CHILDREN, GET_DATA, NO_NODE, Reader};
pub use self::members::Members;
use crate::limits::{ZOOKEEPER_NODES_MAX, ZOOKEEPER_QUESTIONS_MAX};
use crate::scrape::TargetGroup;

/// Kinds of events.
const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    path: String,
    children: bool,
}

/// See the module.
pub struct Tree {
    members: Members,
    roots: Vec<String>,
    /// The nodes that there are, as far as is known.
    known: BTreeSet<String>,
    session: Session,
    changed: Vec<TargetGroup>,
}

/// What one connection knows.
#[derive(Default)]
struct Session {
    /// Bytes that are not a whole frame yet.
    input: Vec<u8>,
    output: Vec<u8>,
    /// The time-out that the server grants, in milliseconds; 0 before it has.
    timeout_ms: u32,
    last_xid: i32,
    /// To be asked, and asked already with its xid.
    open: VecDeque<Question>,
    asked: VecDeque<(i32, Question)>,
    /// The nodes whose data, and whose children, are watched.
    met: BTreeSet<String>,
    listed: BTreeSet<String>,
    /// Whether the walk is over.
    walked: bool,
    /// The roots that are not there.
    missing: BTreeSet<String>,
}

impl Tree {
    /// The members at and below `paths`; nothing is known yet.
    pub fn new(members: Members, paths: &[String]) -> Self {
        let root = |path: &String| match path.trim_end_matches('/') {
            "" => "/".to_owned(),
            trimmed => trimmed.to_owned(),
        };
        let roots: BTreeSet<String> = paths.iter().map(root).collect();
        let roots = roots.into_iter().collect();
        let (session, known) = (Session::default(), BTreeSet::new());
        Tree { members, roots, known, session, changed: Vec::new() }
    }

    /// Begins a session on a new connection, in which the server may be silent for `timeout_ms`.
    pub fn begin(&mut self, timeout_ms: u32) {
        self.session = Session::default();
        self.session.output = jute::hello(i32::try_from(timeout_ms).unwrap_or(i32::MAX));
    }

    /// Takes bytes that the server sent. `Err` says why the connection is of no use.
    ///
    /// # Errors
    /// If they are not the protocol, or say that the session is over or something may not be read.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.session.input.extend_from_slice(bytes);
        while let Some(frame) = jute::next_frame(&mut self.session.input)? {
            let mut reader = Reader(&frame);
            if self.session.timeout_ms == 0 {
                self.welcomed(&mut reader)
            } else {
                self.told(&mut reader)
            }?;
            self.ask();
        }
        Ok(())
    }

    /// What is to be sent.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.session.output)
    }

    /// Says that we are still there, once there is a session.
    pub fn ping(&mut self) {
        if self.session.timeout_ms > 0 {
            self.session.output.extend(jute::ping());
        }
    }

    /// The time-out that the server grants, in milliseconds, once there is a session.
    pub fn timeout_ms(&self) -> Option<u32> {
        Some(self.session.timeout_ms).filter(|ms| *ms > 0)
    }

    /// The groups that changed; one without targets is gone.
    pub fn changed(&mut self) -> Vec<TargetGroup> {
        std::mem::take(&mut self.changed)
    }

    /// Whether everything was asked for since the session began, and is there.
    ///
    /// # Errors
    /// If a path is not there.
    pub fn complete(&self) -> Result<bool, String> {
        match self.session.missing.first() {
            Some(path) => Err(format!("path {path} does not exist")),
            None => Ok(self.session.walked),
        }
    }

    /// Asks again for the paths that were not there.
    pub fn ask_for_missing(&mut self) {
        let missing = std::mem::take(&mut self.session.missing);
        self.session.open.extend(missing.into_iter().map(Question::data));
        self.ask();
    }

    fn welcomed(&mut self, reader: &mut Reader) -> Result<(), String> {
        let _protocol = reader.int()?;
        let granted = u32::try_from(reader.int()?).unwrap_or(0);
        if granted == 0 {
            return Err("the server refuses the session".to_owned());
        }
        self.session.timeout_ms = granted;
        self.session.open.extend(self.roots.iter().cloned().map(Question::data));
        Ok(())
    }

    fn told(&mut self, reader: &mut Reader) -> Result<(), String> {
        let xid = reader.int()?;
        reader.skip_long()?;
        let error = reader.int()?;
        match xid {
            jute::PING => Ok(()),
            jute::EVENT => self.event(reader),
            _ => self.reply(xid, error, reader),
        }
    }

    fn event(&mut self, reader: &mut Reader) -> Result<(), String> {
        let (kind, _state, path) = (reader.int()?, reader.int()?, reader.text()?);
        let session = &mut self.session;
        match kind {
            DELETED => self.gone(&path),
            CREATED | DATA_CHANGED if session.met.contains(&path) => {
                session.open.push_back(Question::data(path));
            }
            CHILDREN_CHANGED if session.listed.contains(&path) => {
                session.open.push_back(Question { path, children: true });
            }
            CREATED | DATA_CHANGED | CHILDREN_CHANGED => {}
            _ => return Err("the session is over".to_owned()),
        }
        Ok(())
    }

    fn reply(&mut self, xid: i32, error: i32, reader: &mut Reader) -> Result<(), String> {
        let asked = self.session.asked.pop_front();
        let (_, Question { path, children }) = asked
            .filter(|(asked, _)| *asked == xid)
            .ok_or("the server answers what was not asked")?;
        match error {
            0 if children => {
                let names = reader.texts()?;
                self.children(&path, &names)
            }
            0 => self.data(path, reader.buffer()?),
            NO_NODE => {
                self.gone(&path);
                Ok(())
            }
            -102 => Err(format!("path {path} may not be read")),
            other => Err(format!("path {path}: the server answers error {other}")),
        }
    }

    fn data(&mut self, path: String, data: &[u8]) -> Result<(), String> {
        let target = self.members.target(&path, data);
        let targets = target.into_iter().collect();
        self.changed.push(TargetGroup { source: path.clone(), targets, ..TargetGroup::default() });
        self.known.insert(path.clone());
        if self.known.len() > ZOOKEEPER_NODES_MAX {
            return Err(format!("more than {ZOOKEEPER_NODES_MAX} nodes"));
        }
        self.session.met.insert(path.clone());
        if self.session.listed.insert(path.clone()) {
            self.session.open.push_back(Question { path, children: true });
        }
        Ok(())
    }

    fn children(&mut self, path: &str, names: &[String]) -> Result<(), String> {
        let base = if path == "/" { "" } else { path };
        let mut children = BTreeSet::new();
        for name in names {
            if name.is_empty() || name.contains('/') {
                return Err(format!("path {path}: a child cannot be called {name:?}"));
            }
            children.insert(format!("{base}/{name}"));
        }
        let is_child = |below: &&String| !below[base.len() + 1..].contains('/');
        let known = below(&self.session.met, path);
        let gone: Vec<String> =
            known.filter(is_child).filter(|one| !children.contains(*one)).cloned().collect();
        for one in &gone {
            self.gone(one);
        }
        let open = &mut self.session.open;
        let met = &self.session.met;
        open.extend(children.into_iter().filter(|one| !met.contains(one)).map(Question::data));
        if open.len() > ZOOKEEPER_NODES_MAX {
            return Err(format!("more than {ZOOKEEPER_NODES_MAX} nodes"));
        }
        Ok(())
    }

    /// A node is not there, and nothing below it.
    fn gone(&mut self, path: &str) {
        if self.roots.iter().any(|root| root == path) {
            self.session.missing.insert(path.to_owned());
        }
        let subtree = |of: &BTreeSet<String>| -> Vec<String> {
            of.get(path).into_iter().chain(below(of, path)).cloned().collect()
        };
        for one in subtree(&self.session.met) {
            self.session.met.remove(&one);
        }
        for one in subtree(&self.session.listed) {
            self.session.listed.remove(&one);
        }
        for source in subtree(&self.known) {
            self.known.remove(&source);
            self.changed.push(TargetGroup { source, ..TargetGroup::default() });
        }
    }

    /// Sends what may be asked now, and ends the walk when nothing is left.
    fn ask(&mut self) {
        let session = &mut self.session;
        while session.asked.len() < ZOOKEEPER_QUESTIONS_MAX
            && let Some(question) = session.open.pop_front()
        {
            session.last_xid = session.last_xid.checked_add(1).unwrap_or(1);
            let operation = if question.children { GET_CHILDREN } else { GET_DATA };
            session.output.extend(jute::question(session.last_xid, operation, &question.path));
            session.asked.push_back((session.last_xid, question));
        }
        if session.asked.is_empty() && !session.walked && session.timeout_ms > 0 {
            session.walked = true;
            let unmet: Vec<String> = self.known.difference(&session.met).cloned().collect();
            for path in &unmet {
                self.gone(path);
            }
        }
    }
}

impl Question {
    fn data(path: String) -> Self {
        Question { path, children: false }
    }
}

/// The nodes below `path`.
fn below<'a>(nodes: &'a BTreeSet<String>, path: &str) -> impl Iterator<Item = &'a String> {
    let prefix = if path == "/" { path.to_owned() } else { format!("{path}/") };
    let from = nodes
        .range::<str, _>((std::ops::Bound::Excluded(prefix.as_str()), std::ops::Bound::Unbounded));
    from.take_while(move |node| node.starts_with(&prefix)).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests;
