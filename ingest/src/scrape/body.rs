//! The request of a scrape, and from its response to the bytes to parse.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use tidemark_core::runtime;

use super::error::ScrapeError;
use super::fetch::{FetchError, FetchLimits, JobName};
use super::job::Job;
use super::negotiate::{Format, accept_header, format_of};
use super::room::{Room, Share};
use super::target::Target;
use crate::limits::SCRAPE_BODY_BYTES_MAX;

/// What this program calls itself.
const AGENT: &str = concat!("Tidemark/", env!("CARGO_PKG_VERSION"));

const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// Bytes that are decompressed between two offers to yield.
const INFLATE_BYTES: usize = 64 << 10;

/// Asks `target` for its metrics.
pub(super) fn request(job: &Job, target: &Target) -> Request<Bytes> {
    let mut request = Request::get(target.url.clone())
        .header(ACCEPT, accept_header(&job.protocols, job.escaping))
        .header(USER_AGENT, AGENT)
        .header(SCRAPE_TIMEOUT, target.timeout.as_secs_f64().to_string())
        .extension(JobName(Arc::from(job.name.as_str())));
    if job.enable_compression {
        request = request.header(ACCEPT_ENCODING, "gzip");
    }
    request.body(Bytes::new()).expect("every part of it is valid by itself")
}

/// How much fetching `target` may take. A decompressed body may reach the limit, so a compressed one may as well.
pub(super) fn fetch_limits(job: &Job, target: &Target, room: &Room) -> FetchLimits {
    FetchLimits { body_bytes_max: bytes_max(job), timeout: target.timeout, room: room.clone() }
}

/// Bytes that a body may have; as many as that are too many.
fn bytes_max(job: &Job) -> usize {
    match usize::try_from(job.limits.body_bytes) {
        Ok(limit) if (1..SCRAPE_BODY_BYTES_MAX).contains(&limit) => limit,
        _ => SCRAPE_BODY_BYTES_MAX,
    }
}

/// The bytes to parse, decompressed into `inflated` if need be, which takes its `share`, and their format.
pub(super) async fn read<'a>(
    job: &Job,
    response: &'a Response<Bytes>,
    inflated: &'a mut Vec<u8>,
    share: &mut Share,
) -> Result<(&'a [u8], Format), ScrapeError> {
    if response.status() != StatusCode::OK {
        return Err(ScrapeError::Status(response.status()));
    }
    let headers = response.headers();
    let body = match text(headers, &CONTENT_ENCODING) {
        "" | "identity" => response.body(),
        "gzip" => {
            inflate(response.body(), bytes_max(job), inflated, share).await?;
            &inflated[..]
        }
        other => return Err(ScrapeError::Compression(format!("unknown coding {other:?}"))),
    };
    if body.len() >= bytes_max(job) {
        return Err(ScrapeError::BodySize);
    }
    let format = format_of(text(headers, &CONTENT_TYPE), job.fallback_protocol);
    Ok((body, format.map_err(ScrapeError::ContentType)?))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Decompresses piece by piece, and stops once there are `bytes_max`, whatever is still to come.
async fn inflate(
    body: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
    share: &mut Share,
) -> Result<(), ScrapeError> {
    out.clear();
    let mut decoder = MultiGzDecoder::new(body);
    loop {
        let room = INFLATE_BYTES.min(bytes_max - out.len());
        let read = decoder
            .by_ref()
            .take(room as u64)
            .read_to_end(out)
            .map_err(|error| ScrapeError::Compression(error.to_string()))?;
        if !share.grow(read) {
            return Err(FetchError::NoRoom.into());
        }
        if read == 0 || out.len() >= bytes_max {
            return Ok(());
        }
        runtime::yield_if_needed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SCRAPE_BODY_BYTES_MAX as MAX;
    use crate::scrape::job::JobLimits;
    use std::io::Write as _;
    use tidemark_core::runtime::sim;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn read_one(job: &Job, coding: &str, body: &[u8]) -> Result<Vec<u8>, ScrapeError> {
        let response = Response::builder()
            .header(CONTENT_TYPE, "text/plain")
            .header(CONTENT_ENCODING, coding)
            .body(Bytes::copy_from_slice(body))
            .unwrap();
        sim::run(1, async {
            let mut inflated = Vec::new();
            let mut share = Room::default().share();
            read(job, &response, &mut inflated, &mut share).await.map(|(body, _)| body.to_vec())
        })
    }

    fn limited(body_bytes: u64) -> Job {
        Job { limits: JobLimits { body_bytes, ..JobLimits::default() }, ..Job::default() }
    }

    #[test]
    fn bodies_with_and_without_gzip() {
        let body = b"up 1\n".repeat(50_000);
        let job = Job::default();
        assert_eq!(read_one(&job, "identity", &body), Ok(body.clone()));
        let packed = gzip(&body);
        assert_eq!(read_one(&job, "gzip", &packed), Ok(body.clone()));
        assert_eq!(
            read_one(&job, "gzip", &[packed.clone(), gzip(b"x 2\n")].concat()).unwrap().len(),
            body.len() + 4
        );
        for broken in [&packed[..packed.len() / 2], b"not gzip"] {
            assert!(matches!(read_one(&job, "gzip", broken), Err(ScrapeError::Compression(_))));
        }
        assert!(matches!(read_one(&job, "br", &packed), Err(ScrapeError::Compression(_))));
    }

    #[test]
    fn the_limit_is_on_decompressed_bytes() {
        let bomb = gzip(&vec![b'\n'; 1 << 20]);
        assert!(bomb.len() < 10_000);
        assert_eq!(read_one(&limited(20_000), "gzip", &bomb), Err(ScrapeError::BodySize));
        assert_eq!(read_one(&limited(1 << 20), "gzip", &bomb), Err(ScrapeError::BodySize));
        assert!(read_one(&limited((1 << 20) + 1), "gzip", &bomb).is_ok());
        assert_eq!(read_one(&limited(4), "identity", b"up 1"), Err(ScrapeError::BodySize));
        assert_eq!(bytes_max(&limited(0)), MAX);
        assert_eq!(bytes_max(&limited(u64::MAX)), MAX);
    }
}
