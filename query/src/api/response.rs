//! The envelope around every answer: `{"status":...}`, with data, or with an error and its status code.

use bytes::Bytes;

use super::json;
use crate::value::QueryError;

/// An answer, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// MIME type of the body.
    pub content_type: &'static str,
    /// How the body is encoded already, if it is.
    pub content_encoding: Option<&'static str>,
    /// The body.
    pub body: Bytes,
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
    let mut out = br#"{"status":"success","data":"#.to_vec();
    write(&mut out);
    write_notes(&mut out, "warnings", "warning", notes.warnings);
    write_notes(&mut out, "infos", "info", notes.infos);
    out.push(b'}');
    Response { status: 200, content_type: JSON, content_encoding: None, body: out.into() }
}

/// The answer to a request that failed.
pub fn failure(error: &QueryError) -> Response {
    let mut out = br#"{"status":"error","errorType":"#.to_vec();
    json::string(&mut out, error.kind.as_str());
    json::raw(&mut out, r#","error":"#);
    json::html_safe_string(&mut out, &error.message);
    out.push(b'}');
    let status = error.kind.status();
    Response { status, content_type: JSON, content_encoding: None, body: out.into() }
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
