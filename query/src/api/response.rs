//! The envelope around every answer: `{"status":...}`, with data, or with an error and its status code.
//!
//! What may be long is written piece by piece: a [`Response`] holds the first, and what makes the [`Rest`] as fast as the client
//! takes it. The text of an answer is several times as large as the values it is made of.

use bytes::Bytes;

use super::json;
use super::spread::Spread;
use crate::limits::PIECE_BYTES;
use crate::value::QueryError;

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// MIME type of the body.
    pub content_type: &'static str,
    /// How the body is encoded already, if it is.
    pub content_encoding: Option<&'static str>,
    /// The body, or its beginning.
    pub body: Bytes,
    /// What comes after it.
    pub rest: Option<Rest>,
}

impl Response {
    /// An answer with a whole body.
    pub fn whole(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Response { status, content_type, content_encoding: None, body: body.into(), rest: None }
    }

    /// An answer whose body `write` makes: each call appends about [`PIECE_BYTES`], and says whether there is more.
    pub fn pieces(
        content_type: &'static str,
        mut write: impl FnMut(&mut Vec<u8>) -> bool + 'static,
    ) -> Self {
        let mut first = Vec::new();
        let more = write(&mut first);
        let rest = more.then(|| Rest(Maker::Here(Box::new(write))));
        Response { status: 200, content_type, content_encoding: None, body: first.into(), rest }
    }

    /// An answer in JSON that begins with `head` and goes on with what all cores write.
    pub(super) fn spread(head: Vec<u8>, spread: Spread) -> Self {
        let rest = Some(Rest(Maker::Everywhere(Box::new(spread))));
        Response { rest, ..Response::whole(200, JSON, head) }
    }
}

/// Appends a piece of a body; whether there is more.
type WritePiece = dyn FnMut(&mut Vec<u8>) -> bool;

/// Makes the rest of a body.
pub struct Rest(Maker);

enum Maker {
    /// On this core, piece by piece.
    Here(Box<WritePiece>),
    /// On all cores.
    Everywhere(Box<Spread>),
}

impl Rest {
    /// The next piece, which may be empty, and whether there is more.
    pub async fn next(&mut self) -> (Vec<u8>, bool) {
        match &mut self.0 {
            Maker::Here(write) => {
                let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 16);
                let more = write(&mut piece);
                (piece, more)
            }
            Maker::Everywhere(spread) => spread.next().await,
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rest")
    }
}

const JSON: &str = "application/json";

/// How many warnings, and how many infos, one answer shows.
const NOTES_MAX: usize = 10;

/// Notes beside the data of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notes<'a> {
    /// What is likely wrong.
    pub warnings: &'a [String],
    /// What is worth knowing.
    pub infos: &'a [String],
}

/// An answer whose data `write` writes.
pub fn success(notes: Notes<'_>, write: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut out = OPEN.to_vec();
    write(&mut out);
    close(&mut out, notes);
    Response::whole(200, JSON, out)
}

/// An answer whose data may be long: `write` appends the next part of it and says whether there is more, `notes` are written
/// after it.
pub(super) fn success_in_pieces(
    warnings: Vec<String>,
    infos: Vec<String>,
    mut write: impl FnMut(&mut Vec<u8>) -> bool + 'static,
) -> Response {
    let mut open = Some(OPEN);
    Response::pieces(JSON, move |out| {
        out.extend_from_slice(open.take().unwrap_or_default());
        let more = write(out);
        if !more {
            close(out, Notes { warnings: &warnings, infos: &infos });
        }
        more
    })
}

/// As [`success_in_pieces`], for a list.
pub(super) fn success_list<T: 'static>(
    warnings: Vec<String>,
    items: Vec<T>,
    write: impl Fn(&mut Vec<u8>, &T) + 'static,
) -> Response {
    let (mut items, mut open) = (items.into_iter(), Some(b'['));
    success_in_pieces(warnings, Vec::new(), move |out| {
        let mut separator = open.take();
        out.extend(separator.filter(|_| items.len() == 0));
        while out.len() < PIECE_BYTES
            && let Some(item) = items.next()
        {
            out.push(separator.take().unwrap_or(b','));
            write(out, &item);
        }
        if items.len() == 0 {
            out.push(b']');
        }
        items.len() > 0
    })
}

pub(super) const OPEN: &[u8] = br#"{"status":"success","data":"#;

pub(super) fn close(out: &mut Vec<u8>, notes: Notes<'_>) {
    write_notes(out, "warnings", "warning", notes.warnings);
    write_notes(out, "infos", "info", notes.infos);
    out.push(b'}');
}

/// The answer to a request that failed.
pub fn failure(error: &QueryError) -> Response {
    let mut out = br#"{"status":"error","errorType":"#.to_vec();
    json::string(&mut out, error.kind.as_str());
    json::raw(&mut out, r#","error":"#);
    json::html_safe_string(&mut out, &error.message);
    out.push(b'}');
    Response::whole(error.kind.status(), JSON, out)
}

fn write_notes(out: &mut Vec<u8>, member: &str, word: &str, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    json::raw(out, ",\"");
    json::raw(out, member);
    json::raw(out, "\":");
    let more = notes.len().saturating_sub(NOTES_MAX);
    let rest = (more > 0).then(|| format!("{more} more {word} annotations omitted"));
    let shown = notes.iter().take(NOTES_MAX).chain(&rest);
    json::array(out, shown, |out, note| json::html_safe_string(out, note));
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::value::ErrorType;

    fn body(response: &Response) -> &str {
        std::str::from_utf8(&response.body).unwrap()
    }

    #[test]
    fn envelopes() {
        let fine = success(Notes::default(), |out| out.extend_from_slice(b"[]"));
        assert_eq!((fine.status, body(&fine)), (200, r#"{"status":"success","data":[]}"#));
        let bad = failure(&QueryError::new(ErrorType::BadData, "a < \"b\""));
        assert_eq!(bad.status, 400);
        assert_eq!(
            body(&bad),
            r#"{"status":"error","errorType":"bad_data","error":"a \u003c \"b\""}"#
        );
    }

    #[test]
    fn long_lists_come_in_pieces() {
        let items: Vec<u32> = (0..50_000).collect();
        let expected = format!(r#"{{"status":"success","data":{items:?},"warnings":["w"]}}"#);
        let write = |out: &mut Vec<u8>, item: &u32| json::integer(out, u64::from(*item));
        let mut answer = success_list(vec!["w".to_owned()], items, write);
        let (mut all, mut pieces) = (answer.body.to_vec(), 1);
        let mut rest = answer.rest.take().unwrap();
        let mut more = true;
        while more {
            let before = all.len();
            let piece;
            (piece, more) = rest.next().now_or_never().unwrap();
            all.extend_from_slice(&piece);
            assert!(all.len() - before < PIECE_BYTES + 100);
            pieces += 1;
        }
        assert_eq!(String::from_utf8(all).unwrap(), expected.replace(' ', ""));
        assert_eq!(pieces, expected.replace(' ', "").len().div_ceil(PIECE_BYTES));
        let short = success_list(vec![], vec![7], write);
        assert_eq!(body(&short), r#"{"status":"success","data":[7]}"#);
        assert!(short.rest.is_none());
        let none = success_list(vec![], vec![], write);
        assert_eq!(body(&none), r#"{"status":"success","data":[]}"#);
    }

    #[test]
    fn notes_are_few() {
        let notes: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        let infos = ["i".to_owned()];
        let both = Notes { warnings: &notes, infos: &infos };
        let answer = success(both, |out| out.extend_from_slice(b"1"));
        assert_eq!(
            body(&answer),
            r#"{"status":"success","data":1,"warnings":["0","1","2","3","4","5","6","7","8","9","2 more warning annotations omitted"],"infos":["i"]}"#
        );
    }
}
