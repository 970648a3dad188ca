//! The answer of an HTTP proxy to `CONNECT`: a head, of which only the status counts.

use crate::limits::{CONNECT_ANSWER_BYTES_MAX, excerpt};

const END: &[u8] = b"\r\n\r\n";

/// What a proxy has answered so far.
#[derive(Default)]
pub struct ConnectAnswer(Vec<u8>);

impl ConnectAnswer {
    /// Takes bytes as they come; whether the proxy has connected now. Nothing may follow the empty line, since it is on us to speak next.
    ///
    /// # Errors
    /// What the proxy says if it refuses, or what is wrong with its answer.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let from = self.0.len().saturating_sub(END.len() - 1);
        self.0.extend_from_slice(bytes);
        let end = self.0[from..].windows(END.len()).position(|some| some == END);
        match end.map(|end| from + end + END.len()) {
            None if self.0.len() > CONNECT_ANSWER_BYTES_MAX => {
                Err("the proxy's answer to CONNECT does not end".to_owned())
            }
            None => Ok(false),
            Some(end) => status(&String::from_utf8_lossy(&self.0[..end])).and_then(|()| {
                let early = self.0.len() > end;
                if early { Err("the proxy speaks out of turn".to_owned()) } else { Ok(true) }
            }),
        }
    }
}

fn status(head: &str) -> Result<(), String> {
    let line = head.split("\r\n").next().unwrap_or_default();
    match line.split_once(' ') {
        Some((version, status)) if version.starts_with("HTTP/1.") => {
            if status.starts_with('2') {
                Ok(())
            } else {
                Err(excerpt(status))
            }
        }
        _ => Err("the proxy does not speak HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the answer comes to if it arrives in pieces of that size.
    fn in_pieces(answer: &[u8], size: usize) -> Result<bool, String> {
        let mut connect = ConnectAnswer::default();
        let mut last = Ok(false);
        for piece in answer.chunks(size) {
            assert_eq!(last, Ok(false));
            last = connect.take(piece);
            if last.is_err() {
                break;
            }
        }
        last
    }

    #[test]
    fn answers_however_they_arrive() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"[..], Ok(true)),
            (b"HTTP/1.0 200\r\n\r\n", Ok(true)),
            (b"HTTP/1.1 200 OK\r\n", Ok(false)),
            (b"HTTP/1.1 403 Filtered\r\n\r\nreasons", Err("403 Filtered")),
            (b"SSH-2.0 hello\r\n\r\n", Err("the proxy does not speak HTTP")),
            (b"\r\n\r\n", Err("the proxy does not speak HTTP")),
        ] {
            for size in [1, 2, 5, 1000] {
                let expected = expected.map_err(str::to_owned);
                assert_eq!(in_pieces(answer, size), expected, "{size}");
            }
        }
    }

    #[test]
    fn nothing_may_follow_and_it_must_end() {
        let early = in_pieces(b"HTTP/1.1 200 OK\r\n\r\nSSH-2.0", 1000);
        assert_eq!(early, Err("the proxy speaks out of turn".to_owned()));
        let endless = in_pieces(&vec![b'x'; CONNECT_ANSWER_BYTES_MAX + 1000], 1000);
        assert_eq!(endless, Err("the proxy's answer to CONNECT does not end".to_owned()));
    }
}
