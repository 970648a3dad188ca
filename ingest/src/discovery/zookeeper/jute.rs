//! Frames of ZooKeeper's protocol: a length of four bytes, and what Jute makes of a record. Numbers are big-endian; a text and a
//! buffer stand behind their length, where -1 is none.
//!
//! ```text
//! hello    protocol 4 | last zxid 8 | time-out ms 4 | session 8 | password | read-only 1
//! welcome  protocol 4 | time-out ms 4 | session 8 | password | ...
//! request  xid 4 | operation 4 | path | watch 1
//! reply    xid 4 | zxid 8 | error 4 | data or children ... | stat
//! event    -1    | zxid 8 | error 4 | kind 4 | state 4 | path
//! ```

use crate::limits::{ZOOKEEPER_FRAME_BYTES_MAX, ZOOKEEPER_NODES_MAX};

/// The xid of events.
pub(super) const EVENT: i32 = -1;
/// The xid of pings.
pub(super) const PING: i32 = -2;

/// Operations.
pub(super) const GET_DATA: i32 = 4;
pub(super) const GET_CHILDREN: i32 = 12;
const PING_OPERATION: i32 = 11;

/// The error of a node that is not there.
pub(super) const NO_NODE: i32 = -101;

/// What bytes say, from the front on.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.0.split_at_checked(bytes).ok_or("an answer ends in the middle of a record")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn int(&mut self) -> Result<i32, String> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(i32::from_be_bytes(bytes))
    }

    /// Passes over a number of eight bytes.
    pub(super) fn skip_long(&mut self) -> Result<(), String> {
        self.take(8).map(drop)
    }

    /// A buffer; none is an empty one.
    pub(super) fn buffer(&mut self) -> Result<&'a [u8], String> {
        let length = self.int()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let text = std::str::from_utf8(self.buffer()?);
        text.map(str::to_owned).map_err(|_| "a name that is not UTF-8".to_owned())
    }

    /// A list of texts.
    pub(super) fn texts(&mut self) -> Result<Vec<String>, String> {
        let number = usize::try_from(self.int()?).unwrap_or(0);
        if number > ZOOKEEPER_NODES_MAX {
            return Err(format!("a node with more than {ZOOKEEPER_NODES_MAX} children"));
        }
        (0..number).map(|_| self.text()).collect()
    }
}

/// Takes the first frame out of `input`; `None` if it is not whole yet.
pub(super) fn next_frame(input: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let Some((length, _)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let length = usize::try_from(length).ok().filter(|n| *n <= ZOOKEEPER_FRAME_BYTES_MAX);
    let length =
        length.ok_or(format!("an answer longer than {ZOOKEEPER_FRAME_BYTES_MAX} bytes"))?;
    if input.len() < 4 + length {
        return Ok(None);
    }
    let rest = input.split_off(4 + length);
    let mut frame = std::mem::replace(input, rest);
    frame.drain(..4);
    Ok(Some(frame))
}

/// The frame that asks for a new session.
pub(super) fn hello(timeout_ms: i32) -> Vec<u8> {
    let numbers: [&[u8]; 6] = [
        &0_i32.to_be_bytes(),
        &0_i64.to_be_bytes(),
        &timeout_ms.to_be_bytes(),
        &0_i64.to_be_bytes(),
        &16_i32.to_be_bytes(),
        &[0; 16 + 1],
    ];
    framed(&numbers.concat())
}

/// A frame that asks about `path` and to be told when the answer is another.
pub(super) fn question(xid: i32, operation: i32, path: &str) -> Vec<u8> {
    let length = i32::try_from(path.len()).unwrap_or(i32::MAX).to_be_bytes();
    let parts: [&[u8]; 5] =
        [&xid.to_be_bytes(), &operation.to_be_bytes(), &length, path.as_bytes(), &[1]];
    framed(&parts.concat())
}

/// A frame that says that we are still there.
pub(super) fn ping() -> Vec<u8> {
    framed(&[PING.to_be_bytes(), PING_OPERATION.to_be_bytes()].concat())
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = i32::try_from(payload.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes(), payload].concat()
}
