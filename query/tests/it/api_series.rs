//! What the endpoints about stored series answer, byte for byte as Prometheus does.

use tidemark_core::shards::Shards;
use tidemark_query::api::{Params, Response, series};

use crate::stored::with_series;

/// Asks one endpoint and compares the body.
macro_rules! check {
    ($ask:expr, $status:literal, $body:expr) => {
        let Response { status, body, .. } = $ask.await;
        assert_eq!(String::from_utf8_lossy(&body), $body);
        assert_eq!(status, $status);
    };
}

fn params(query: &str) -> Params {
    Params::parse(query, b"")
}

#[test]
fn series_are_listed() {
    with_series(|shards: Shards| async move {
        check!(
            series::series(
                &params("match[]=up{instance%3D~\".%2B\"}&match[]=requests_total"),
                &shards
            ),
            200,
            r#"{"status":"success","data":[{"__name__":"requests_total","http.code":"200","job":"api"},{"__name__":"up","instance":"a<b>","job":"api"},{"__name__":"up","instance":"c","job":"api"}]}"#
        );
        check!(
            series::series(&params("match[]=up&limit=1"), &shards),
            200,
            r#"{"status":"success","data":[{"__name__":"up","instance":"a<b>","job":"api"}],"warnings":["results truncated due to limit"]}"#
        );
        check!(
            series::series(&params("match[]=up&start=2&end=3"), &shards),
            200,
            r#"{"status":"success","data":[]}"#
        );
        check!(
            series::series(&params("start=1"), &shards),
            400,
            r#"{"status":"error","errorType":"bad_data","error":"no match[] parameter provided"}"#
        );
        check!(
            series::series(&params("match[]=1"), &shards),
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"match[]\": 1:1: parse error: unexpected number \"1\""}"#
        );
    });
}

#[test]
fn labels_are_listed() {
    with_series(|shards: Shards| async move {
        check!(
            series::labels(&params(""), &shards),
            200,
            r#"{"status":"success","data":["__name__","http.code","instance","job"]}"#
        );
        check!(
            series::labels(&params("match[]=up&match[]={job%3D\"none\"}&limit=2"), &shards),
            200,
            r#"{"status":"success","data":["__name__","instance"],"warnings":["results truncated due to limit"]}"#
        );
        check!(
            series::labels(&params("match[]={}"), &shards),
            400,
            r#"{"status":"error","errorType":"bad_data","error":"match[] must contain at least one non-empty matcher"}"#
        );
        check!(
            series::label_values("job", &params("match[]=up"), &shards),
            200,
            r#"{"status":"success","data":["api","db\n\"1\""]}"#
        );
        check!(
            series::label_values("instance", &params(""), &shards),
            200,
            r#"{"status":"success","data":["a\u003cb\u003e","c"]}"#
        );
        check!(
            series::label_values("U__http_2e_code", &params(""), &shards),
            200,
            r#"{"status":"success","data":["200"]}"#
        );
        check!(
            series::label_values("nope", &params(""), &shards),
            200,
            r#"{"status":"success","data":[]}"#
        );
    });
}

#[test]
fn metadata_is_listed() {
    with_series(|shards: Shards| async move {
        check!(
            series::metadata(&params(""), &shards),
            200,
            r#"{"status":"success","data":{"requests_total":[{"type":"gauge","unit":"","help":"What \u0026 why"}],"up":[{"type":"gauge","unit":"","help":"What \u0026 why"}]}}"#
        );
        check!(
            series::metadata(&params("metric=up&limit_per_metric=1"), &shards),
            200,
            r#"{"status":"success","data":{"up":[{"type":"gauge","unit":"","help":"What \u0026 why"}]}}"#
        );
        check!(
            series::metadata(&params("limit=0"), &shards),
            200,
            r#"{"status":"success","data":{}}"#
        );
        check!(
            series::metadata(&params("limit=x"), &shards),
            400,
            r#"{"status":"error","errorType":"bad_data","error":"limit must be a number"}"#
        );
    });
}
