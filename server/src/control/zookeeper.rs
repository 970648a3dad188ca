//! Runs `serverset_sd` and `nerve_sd`: one connection to one server of ZooKeeper, the next one when it ends.
//!
//! What is said over it is decided by [`Tree`]. A server that is silent for two thirds of the session's time-out is given up, and
//! pinged after each third.

use std::collections::VecDeque;
use std::time::Duration;

use tidemark_ingest::discovery::zookeeper::{Members, Tree};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::mechanisms::{Context, Start};
use super::provider::{Running, Update};
use super::refresh::Complaints;
use crate::config::discovery::ZookeeperSdConfig;

/// From the end of a connection, or a path that is not there, to the next try.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// From one server that cannot be reached to the next one.
const NEXT_AFTER: Duration = Duration::from_secs(1);

/// The port of servers that are named without one.
const PORT: u16 = 2181;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

impl Start for ZookeeperSdConfig {
    fn start(&self, context: Context) -> Result<Running, String> {
        let members =
            if context.mechanism == "nerve" { Members::Nerve } else { Members::Serverset };
        let tree = Tree::new(members, &self.paths);
        let servers = self.servers.iter().map(|server| with_port(server)).collect();
        Ok(Running::start(run(tree, servers, self.timeout.as_std(), context)))
    }
}

/// A server with its port.
fn with_port(server: &str) -> String {
    let port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if port { server.to_owned() } else { format!("{server}:{PORT}") }
}

/// Runs until it is dropped.
async fn run(mut tree: Tree, mut servers: VecDeque<String>, patience: Duration, context: Context) {
    let mut complaints = Complaints::new(&context);
    let mut unreachable = 0;
    loop {
        let Some(server) = servers.front() else { return };
        match timeout(patience, TcpStream::connect(server)).await {
            Ok(Ok(stream)) => {
                unreachable = 0;
                let mut talk = Talk { stream, tree: &mut tree, patience, context: &context };
                let Err(error) = talk.go_on(&mut complaints).await;
                complaints.bad(&format!("{server}: {error}"));
                sleep(RETRY_AFTER).await;
            }
            failed => {
                let error = match failed {
                    Ok(Err(error)) => error.to_string(),
                    _ => format!("no connection within {patience:?}"),
                };
                complaints.bad(&format!("{server}: {error}"));
                unreachable += 1;
                let all = unreachable % servers.len() == 0;
                sleep(if all { RETRY_AFTER } else { NEXT_AFTER }).await;
            }
        }
        context.stats.zookeeper_failures.add(1);
        servers.rotate_left(1);
    }
}

/// One connection.
struct Talk<'a> {
    stream: TcpStream,
    tree: &'a mut Tree,
    patience: Duration,
    context: &'a Context,
}

/// What nothing is.
enum Never {}

impl Talk<'_> {
    /// Speaks until the connection is of no use any more; `Err` says why.
    async fn go_on(&mut self, complaints: &mut Complaints) -> Result<Never, String> {
        let ms = u32::try_from(self.patience.as_millis()).unwrap_or(u32::MAX);
        self.tree.begin(ms);
        self.send().await?;
        let mut piece = vec![0; READ_BYTES];
        let (mut heard, mut pinged, mut retry) = (Instant::now(), Instant::now(), None);
        loop {
            let granted = self.tree.timeout_ms().map(|ms| Duration::from_millis(ms.into()));
            let granted = granted.unwrap_or(self.patience);
            tokio::select! {
                ready = self.stream.readable() => {
                    ready.map_err(|e| e.to_string())?;
                    if self.read(&mut piece)? {
                        heard = Instant::now();
                        retry = self.tell(complaints, retry).await;
                    }
                }
                () = sleep_until(heard + granted * 2 / 3) => {
                    return Err(format!("nothing was heard for {:?}", granted * 2 / 3));
                }
                () = sleep_until(pinged + granted / 3) => {
                    pinged = Instant::now();
                    self.tree.ping();
                }
                () = sleep_until(retry.unwrap_or(heard)), if retry.is_some() => {
                    retry = None;
                    self.tree.ask_for_missing();
                }
            }
            self.send().await?;
        }
    }

    /// Hands on what changed; gives the time at which paths that are not there are asked for again.
    async fn tell(
        &mut self,
        complaints: &mut Complaints,
        retry: Option<Instant>,
    ) -> Option<Instant> {
        let changed = self.tree.changed();
        if !changed.is_empty() {
            self.context.feed.send(Update::Changed(changed)).await;
        }
        match self.tree.complete() {
            Ok(complete) => {
                if complete {
                    complaints.good();
                }
                None
            }
            Err(missing) => {
                complaints.bad(&missing);
                retry.or_else(|| Some(Instant::now() + RETRY_AFTER))
            }
        }
    }

    /// Reads what is there; false if that is nothing after all.
    fn read(&mut self, piece: &mut [u8]) -> Result<bool, String> {
        match self.stream.try_read(piece) {
            Ok(0) => Err("the server hung up".to_owned()),
            Ok(read) => self.tree.receive(&piece[..read]).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn send(&mut self) -> Result<(), String> {
        let output = self.tree.output();
        let mut rest = output.as_slice();
        let sending = async {
            while !rest.is_empty() {
                self.stream.writable().await?;
                match self.stream.try_write(rest) {
                    Ok(sent) => rest = &rest[sent..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        match timeout(self.patience, sending).await {
            Ok(sent) => sent.map_err(|e: std::io::Error| e.to_string()),
            Err(_) => Err("the server takes nothing".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_a_port() {
        assert_eq!(with_port("zk"), "zk:2181");
        assert_eq!(with_port("zk:1"), "zk:1");
        assert_eq!(with_port("[::1]:1"), "[::1]:1");
    }
}
