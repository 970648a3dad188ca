//! AWS' signature, version 4: the request in a canonical form, hashed, and signed with a key that is good for one day, region
//! and service.
//!
//! ```text
//! key       = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), service), "aws4_request")
//! signature = HMAC(key, "AWS4-HMAC-SHA256\n" + time + "\n" + scope + "\n" + SHA256(canonical request))
//! ```

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use ring::hmac;

use super::super::super::ask::{DiscoveryError, with_secret};
use super::super::super::moment::basic_utc;
use super::credentials::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// What the signature encodes in a part of a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a JSON service is asked to do.
pub(super) const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// `text` as part of the path or query of a URL that is signed.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `request` with the headers that say who sends it at `now_ms`. Its query, if it has one, must be sorted and encoded.
pub(crate) fn sign(
    request: Request<Bytes>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now_ms: i64,
) -> Result<Request<Bytes>, DiscoveryError> {
    let time = basic_utc(now_ms);
    let mut request = with_secret(request, DATE, &time)?;
    if !credentials.session_token.is_empty() {
        request = with_secret(request, TOKEN, &credentials.session_token)?;
    }
    let host = request.uri().authority().map_or("", |authority| authority.as_str());
    let mut signed = HeaderMap::new();
    let host = HeaderValue::from_str(host).map_err(|e| DiscoveryError::Setting(e.to_string()))?;
    signed.insert(HOST, host);
    for name in [CONTENT_TYPE, DATE, TOKEN, TARGET] {
        if let Some(value) = request.headers().get(&name) {
            signed.insert(name, value.clone());
        }
    }
    let (names, canonical) = canonical(&request, &signed);
    let day = &time[..8];
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mut key = format!("AWS4{}", credentials.secret_key).into_bytes();
    for part in [day, region, service, "aws4_request"] {
        key = hmac_sha256(&key, part);
    }
    let signature = hex(&hmac_sha256(&key, &text));
    let key = &credentials.access_key;
    let header = format!(
        "{ALGORITHM} Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    with_secret(request, AUTHORIZATION, &header)
}

/// The names of the signed headers, and the request in its canonical form.
fn canonical(request: &Request<Bytes>, signed: &HeaderMap) -> (String, String) {
    let mut headers: Vec<(&str, &str)> = signed
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default().trim()))
        .collect();
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let lines = lines.concat();
    let (method, uri) = (request.method(), request.uri());
    // The path is encoded once more than it is in the request.
    let path: Vec<String> = uri.path().split('/').map(encoded).collect();
    let (path, query) = (path.join("/"), uri.query().unwrap_or_default());
    let body = hash(request.body());
    let text = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{body}");
    (names, text)
}

fn hash(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// Two small digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of AWS' documentation.
    #[test]
    fn the_example_of_the_documentation() {
        let request =
            Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
                .body(Bytes::new())
                .unwrap();
        let credentials =
            Credentials::of("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let signed = sign(request, &credentials, "us-east-1", "iam", 1_440_938_160_000).unwrap();
        assert_eq!(
            signed.headers()[AUTHORIZATION],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
        let request = Request::get("https://h/v1/arn%3Aa%2Fb?x=%2D").body(Bytes::new()).unwrap();
        let (_, text) = canonical(&request, &HeaderMap::new());
        assert!(text.starts_with("GET\n/v1/arn%253Aa%252Fb\nx=%2D\n\n\n"), "{text}");
        let with_token = Credentials { session_token: "t".to_owned(), ..credentials };
        let request = Request::get("https://h/").body(Bytes::new()).unwrap();
        let signed = sign(request, &with_token, "r", "s", 0).unwrap();
        let header = signed.headers()[AUTHORIZATION].to_str().unwrap();
        assert!(header.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"), "{header}");
    }
}
