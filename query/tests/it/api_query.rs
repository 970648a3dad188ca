//! What `query` and `query_range` answer over stored series, byte for byte as Prometheus does.

use tidemark_core::shards::Shards;
use tidemark_query::api::query::{Format, InstantRequest, RangeRequest, answer};
use tidemark_query::api::{Params, Response, failure};
use tidemark_query::engine::{Engine, EngineOptions, QueryOptions};

use crate::stored::with_series;

async fn instant(engine: &Engine, query: &str) -> Response {
    let request = match InstantRequest::new(&Params::parse(query, b""), 1_500) {
        Ok(request) => request,
        Err(error) => return failure(&error),
    };
    let settings = &request.settings;
    let options = QueryOptions::default();
    answer(
        engine.instant(&settings.query, request.time_ms, &options).await,
        settings,
        Format::Json,
        engine.shards(),
    )
}

async fn range(engine: &Engine, query: &str) -> Response {
    let request = match RangeRequest::new(&Params::parse(query, b"")) {
        Ok(request) => request,
        Err(error) => return failure(&error),
    };
    let (start, end, step) = (request.start_ms, request.end_ms, request.step_ms);
    let settings = &request.settings;
    let options = QueryOptions::default();
    answer(
        engine.range(&settings.query, start, end, step, &options).await,
        settings,
        Format::Json,
        engine.shards(),
    )
}

fn check(response: &Response, status: u16, body: &str) {
    assert_eq!(String::from_utf8_lossy(&response.body), body);
    assert_eq!((response.status, response.content_type), (status, "application/json"));
}

#[test]
fn instants() {
    with_series(|shards: Shards| async move {
        let engine = Engine::new(shards, EngineOptions::default());
        check(
            &instant(&engine, "query=up{job%3D\"api\"}").await,
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"a<b>","job":"api"},"value":[1.500,"1"]},{"metric":{"__name__":"up","instance":"c","job":"api"},"value":[1.500,"1"]}]}}"#,
        );
        check(
            &instant(&engine, "query=sum(up)/0&time=2").await,
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[2,"+Inf"]}]}}"#,
        );
        check(
            &instant(&engine, "query=1e-7").await,
            200,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"0.0000001"]}}"#,
        );
        check(
            &instant(&engine, "query=up{instance%3D\"c\"}[1m]").await,
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","instance":"c","job":"api"},"values":[[1,"1"]]}]}}"#,
        );
        check(
            &instant(&engine, "query=rate(up)").await,
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"}"#,
        );
        check(
            &instant(&engine, r#"query=label_replace(up,"","$1","job","(.*)")"#).await,
            422,
            r#"{"status":"error","errorType":"execution","error":"invalid destination label name in label_replace(): "}"#,
        );
    });
}

#[test]
fn ranges() {
    with_series(|shards: Shards| async move {
        let engine = Engine::new(shards, EngineOptions::default());
        check(
            &range(&engine, "query=count(up)&start=0.5&end=2&step=0.75").await,
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1.250,"3"],[2,"3"]]}]}}"#,
        );
        check(
            &range(&engine, "query=up[5m]&start=0&end=1&step=1").await,
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"}"#,
        );
    });
}
