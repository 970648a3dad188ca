//! The whole HTTP interface on one page: which path is answered by what.

use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tidemark_core::model::tenant::{Tenant, TenantError};
use tidemark_core::runtime::clock::Instant;

use super::answer::{Answer, Reply};
use super::handlers::{
    admin, alerting, cardinality, features, lifecycle, notifications, pages, queries, query,
    status, targets, tsdb, write,
};
use super::life::Busy;
use super::request::Request;
use crate::cli::CorsOrigin;
use crate::node::Node;

/// What answers a request.
type Handler = fn(Rc<Node>, Request) -> LocalBoxFuture<'static, Answer>;

/// One line of the table.
pub(crate) struct Route {
    methods: &'static [Method],
    /// The path; `:name` stands for one segment that is captured.
    path: &'static str,
    /// Whether it waits for nothing: the others are refused until storage is open.
    at_once: bool,
    /// Whether it shows or takes series, so that it has to know whose. The others are for who runs the server.
    of_tenant: bool,
    handler: Handler,
}

/// Says which tenant asks.
const TENANT_HEADER: &str = "x-scope-orgid";

const GET: &[Method] = &[Method::GET, Method::HEAD];
const POST: &[Method] = &[Method::POST];
const PUT: &[Method] = &[Method::POST, Method::PUT];
const FORM: &[Method] = &[Method::GET, Method::HEAD, Method::POST];

macro_rules! routes {
    ($( $methods:ident $path:literal => $handler:path $(, $kind:ident)?; )*) => {
        &[$( Route {
            methods: $methods,
            path: $path,
            at_once: routes!(@ at_once $($kind)?),
            of_tenant: routes!(@ of_tenant $($kind)?),
            handler: |node, request| $handler(node, request).boxed_local(),
        } ),*]
    };
    (@ at_once at_once) => { true };
    (@ of_tenant of_tenant) => { true };
    (@ $asked:ident $($kind:ident)?) => { false };
}

/// The table.
pub(crate) const ROUTES: &[Route] = routes! {
    GET  "/"                               => pages::landing, at_once;
    GET  "/metrics"                        => pages::metrics;
    GET  "/-/healthy"                      => lifecycle::healthy, at_once;
    GET  "/-/ready"                        => lifecycle::ready, at_once;
    PUT  "/-/reload"                       => lifecycle::reload;
    PUT  "/-/quit"                         => lifecycle::quit, at_once;
    GET  "/federate"                       => query::federate, of_tenant;
    POST "/api/v1/read"                    => query::read, of_tenant;
    FORM "/api/v1/query"                   => query::instant, of_tenant;
    FORM "/api/v1/query_range"             => query::range, of_tenant;
    FORM "/api/v1/query_exemplars"         => query::exemplars, of_tenant;
    FORM "/api/v1/format_query"            => query::format;
    FORM "/api/v1/parse_query"             => query::parse;
    FORM "/api/v1/series"                  => query::series, of_tenant;
    FORM "/api/v1/labels"                  => query::labels, of_tenant;
    GET  "/api/v1/label/:name/values"      => query::label_values, of_tenant;
    FORM "/api/v1/search/metric_names"     => query::search_metric_names, of_tenant;
    FORM "/api/v1/search/label_names"      => query::search_label_names, of_tenant;
    FORM "/api/v1/search/label_values"     => query::search_label_values, of_tenant;
    GET  "/api/v1/metadata"                => query::metadata, of_tenant;
    GET  "/api/v1/targets"                 => targets::targets;
    GET  "/api/v1/targets/metadata"        => targets::metadata;
    GET  "/api/v1/targets/relabel_steps"   => targets::relabel_steps, at_once;
    GET  "/api/v1/scrape_pools"            => targets::pools;
    GET  "/api/v1/scrape_pools/config"     => targets::pool_config, at_once;
    GET  "/api/v1/cardinality/metric_names" => cardinality::metric_names, of_tenant;
    GET  "/api/v1/cardinality/label_names" => cardinality::label_names, of_tenant;
    GET  "/api/v1/cardinality/label_values" => cardinality::label_values, of_tenant;
    GET  "/api/v1/cardinality/label_pairs" => cardinality::label_pairs, of_tenant;
    GET  "/api/v1/cardinality/churn"       => cardinality::churn;
    GET  "/api/v1/cardinality/limits"      => cardinality::limits;
    GET  "/api/v1/rules"                   => alerting::rules;
    GET  "/api/v1/alerts"                  => alerting::alerts;
    GET  "/api/v1/alertmanagers"           => alerting::alertmanagers;
    GET  "/api/v1/notifications"           => notifications::notifications, at_once;
    GET  "/api/v1/notifications/live"      => notifications::live, at_once;
    GET  "/api/v1/features"                => features::features, at_once;
    GET  "/api/v1/openapi.yaml"            => pages::openapi, at_once;
    FORM "/api/v1/status/active_queries"   => queries::active;
    FORM "/api/v1/status/top_queries"      => queries::top;
    GET  "/api/v1/status/buildinfo"        => status::build, at_once;
    GET  "/api/v1/status/config"           => status::config, at_once;
    GET  "/api/v1/status/flags"            => status::flags, at_once;
    GET  "/api/v1/status/runtimeinfo"      => status::runtime;
    GET  "/api/v1/status/self_metrics"     => status::self_metrics;
    GET  "/api/v1/status/tsdb"             => tsdb::tsdb;
    GET  "/api/v1/status/tsdb/blocks"      => tsdb::blocks;
    GET  "/api/v1/status/walreplay"        => status::wal_replay, at_once;
    PUT  "/api/v1/admin/tsdb/delete_series" => admin::delete_series, of_tenant;
    PUT  "/api/v1/admin/tsdb/clean_tombstones" => admin::clean_tombstones;
    PUT  "/api/v1/admin/tsdb/snapshot"     => admin::snapshot;
    POST "/api/v1/write"                   => write::remote_write, of_tenant;
};

/// Answers one request.
pub(crate) async fn respond(
    node: Rc<Node>,
    request: http::Request<Incoming>,
    busy: Busy,
) -> Response<Reply> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let (label, mut answer) = match find(path, &parts.method) {
        Found::Route(route, captured) => {
            let wanted = node.flags.tenancy && route.of_tenant;
            let tenant = if wanted { tenant_of(&parts.headers).map(Some) } else { Ok(None) };
            let asking = tenant.as_ref().err().map(no_tenant);
            let request = Request {
                tenant: tenant.unwrap_or_default(),
                method: parts.method.clone(),
                captured,
                query: parts.uri.query().unwrap_or("").to_owned(),
                headers: parts.headers.clone(),
                body,
                client: busy.client(),
                budget: node.bodies.clone(),
                read_timeout: node.flags.read_timeout.as_std(),
            };
            let answer = match asking {
                Some(refusal) => refusal,
                None if route.at_once || node.is_ready() => {
                    (route.handler)(Rc::clone(&node), request).await
                }
                None => lifecycle::not_ready(),
            };
            (route.path, answer)
        }
        Found::Preflight => ("preflight", Answer::empty(StatusCode::NO_CONTENT)),
        Found::Options(allowed) => ("options", allow(Answer::empty(StatusCode::OK), allowed)),
        Found::OtherMethod(allowed) => ("other", method_not_allowed(allowed)),
        Found::Nothing => ("other", Answer::error(StatusCode::NOT_FOUND, "404 page not found")),
    };
    if path.starts_with("/api/") {
        allow_origin(&node.flags.cors_origin, &parts.headers, &mut answer.headers);
    }
    let answer = answer.compressed_for(&parts.headers).await;
    node.counters.http.count(label, answer.status.as_u16(), began.elapsed());
    answer.into_response(busy)
}

/// The tenant that a request names; more than one header is as wrong as none.
fn tenant_of(headers: &HeaderMap) -> Result<Tenant, TenantError> {
    let mut named = headers.get_all(TENANT_HEADER).iter();
    let (Some(name), None) = (named.next(), named.next()) else { return Err(TenantError::Missing) };
    Tenant::parse(&String::from_utf8_lossy(name.as_bytes()))
}

/// 401, in Mimir's words.
fn no_tenant(error: &TenantError) -> Answer {
    Answer::error(StatusCode::UNAUTHORIZED, &error.to_string())
}

enum Found {
    Route(&'static Route, Captured),
    /// `OPTIONS` of anything in the API: a browser asks whether it may.
    Preflight,
    /// `OPTIONS` of any other path.
    Options(&'static [Method]),
    OtherMethod(&'static [Method]),
    Nothing,
}

fn find(path: &str, method: &Method) -> Found {
    if method == Method::OPTIONS && path.starts_with("/api/v1/") {
        return Found::Preflight;
    }
    let Some((route, captured)) = ROUTES.iter().find_map(|r| Some((r, capture(r.path, path)?)))
    else {
        return Found::Nothing;
    };
    if route.methods.contains(method) {
        Found::Route(route, captured)
    } else if method == Method::OPTIONS {
        Found::Options(route.methods)
    } else {
        Found::OtherMethod(route.methods)
    }
}

/// What stood in the place of a pattern's `:name`, if it has one.
type Captured = Option<String>;

/// Whether `path` is `pattern`; with what stands in the place of its `:name`, if it has one.
fn capture(pattern: &str, path: &str) -> Option<Captured> {
    let Some((before, rest)) = pattern.split_once(':') else {
        return (pattern == path).then_some(None);
    };
    let after = rest.find('/').map_or("", |at| &rest[at..]);
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    if segment.is_empty() || segment.contains('/') {
        return None;
    }
    Some(Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned()))
}

fn method_not_allowed(allowed: &[Method]) -> Answer {
    allow(Answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"), allowed)
}

/// Names the methods that a path takes.
fn allow(answer: Answer, allowed: &[Method]) -> Answer {
    let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    match HeaderValue::from_str(&names.join(", ")) {
        Ok(names) => answer.with(ALLOW, names),
        Err(_) => answer,
    }
}

/// Lets pages of other origins read the answers: of those that `--web.cors.origin` matches. Pages of any origin are told so by
/// `*`, which no credentials go with.
fn allow_origin(allowed: &CorsOrigin, request: &HeaderMap, answer: &mut HeaderMap) {
    let Some(origin) = request.get(ORIGIN) else { return };
    let any = HeaderValue::from_static("*");
    let shown = match allowed {
        CorsOrigin::Any => any,
        CorsOrigin::Matching(pattern) => {
            answer.insert(VARY, HeaderValue::from_static("Origin"));
            if !origin.to_str().is_ok_and(|origin| pattern.matches(origin)) {
                return;
            }
            origin.clone()
        }
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, shown);
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn paths_find_their_route() {
        let name = |path: &str, method: Method| match find(path, &method) {
            Found::Route(route, captured) => {
                format!("{} {}", route.path, captured.unwrap_or_default())
            }
            Found::Preflight => "preflight".to_owned(),
            Found::Options(methods) => format!("options of {}", methods[0]),
            Found::OtherMethod(allowed) => format!("only {}", allowed[0]),
            Found::Nothing => "nothing".to_owned(),
        };
        for (path, method, expected) in [
            ("/", Method::GET, "/ "),
            ("/api/v1/query", Method::POST, "/api/v1/query "),
            ("/api/v1/query", Method::OPTIONS, "preflight"),
            ("/api/v1/nothing", Method::OPTIONS, "preflight"),
            ("/-/ready", Method::OPTIONS, "options of GET"),
            ("/api/v1/query", Method::DELETE, "only GET"),
            ("/api/v1/query/", Method::GET, "nothing"),
            ("/api/v1/label/job/values", Method::GET, "/api/v1/label/:name/values job"),
            ("/api/v1/label/a%20b/values", Method::GET, "/api/v1/label/:name/values a b"),
            ("/api/v1/label/%ff/values", Method::GET, "nothing"),
            ("/api/v1/label//values", Method::GET, "nothing"),
            ("/api/v1/label/a/b/values", Method::GET, "nothing"),
            ("/api/v1/write", Method::GET, "only POST"),
        ] {
            assert_eq!(name(path, method.clone()), expected, "{method} {path}");
        }
    }

    #[test]
    fn origins_that_match_may_read() {
        let request =
            HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("http://a.example"))]);
        for (flag, expected) in [
            (".*", Some("*")),
            ("http://.*[.]example", Some("http://a.example")),
            ("http://.*", Some("http://a.example")),
            ("a.example", None),
        ] {
            let mut answer = HeaderMap::new();
            allow_origin(&CorsOrigin::parse(flag).unwrap(), &request, &mut answer);
            let shown = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|v| v.to_str().unwrap());
            assert_eq!(shown, expected, "{flag}");
        }
        let mut answer = HeaderMap::new();
        allow_origin(&CorsOrigin::Any, &HeaderMap::new(), &mut answer);
        assert!(answer.is_empty());
        assert!(CorsOrigin::parse("(").is_err());
    }

    /// Methods and paths, as `OpenAPI` writes them.
    fn described() -> BTreeSet<String> {
        type Paths = BTreeMap<String, BTreeMap<String, serde_json::Value>>;
        #[derive(serde::Deserialize)]
        struct Document {
            paths: Paths,
        }
        let document: Document = serde_saphyr::from_str(include_str!("openapi.yaml")).unwrap();
        let of_path = |(path, methods): (String, BTreeMap<String, _>)| {
            methods.into_keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        };
        document.paths.into_iter().flat_map(of_path).collect()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let of_route = |route: &'static Route| {
            let path = route.path.replace(":name", "{name}");
            let methods = route.methods.iter().filter(|method| **method != Method::HEAD);
            methods.map(move |method| format!("{method} {path}"))
        };
        let routes: BTreeSet<String> = ROUTES.iter().flat_map(of_route).collect();
        let described = described();
        let missing: Vec<_> = routes.difference(&described).collect();
        let surplus: Vec<_> = described.difference(&routes).collect();
        assert!(missing.is_empty() && surplus.is_empty(), "{missing:?} lack, {surplus:?} is none");
    }

    #[test]
    fn references_of_the_description_lead_somewhere() {
        let text = include_str!("openapi.yaml");
        let document: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        let references: BTreeSet<&str> =
            text.split("$ref: \"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 20);
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn tenants_are_named_once_and_well() {
        let header = |names: &[&str]| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(TENANT_HEADER, name.parse().unwrap());
            }
            tenant_of(&headers).map(|tenant| tenant.name().to_owned())
        };
        assert_eq!(header(&["team-a"]), Ok("team-a".to_owned()));
        for bad in [&[][..], &[""], &["a", "b"], &["a|b"]] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
        assert_eq!(no_tenant(&TenantError::Missing).status, StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn no_path_stands_twice() {
        for (i, route) in ROUTES.iter().enumerate() {
            assert!(ROUTES[..i].iter().all(|earlier| earlier.path != route.path), "{}", route.path);
        }
    }
}
