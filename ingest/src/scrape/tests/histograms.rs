//! Native histograms, converted ones and exemplars in whole scrapes.

use super::*;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

/// Two counts in `(1, 2]`, one in `(2, 4]` of schema 0, since second 3, as a protobuf body.
const NATIVE: &str = "\x2d\x0a\x01h\x18\x04\x22\x26\x3a\x24\x08\x03\x11\0\0\0\0\0\0\x14\x40\
    \x28\0\x31\0\0\0\0\0\0\x10\x3f\x62\x04\x08\x02\x10\x02\x68\x04\x68\x01\x7a\x02\x08\x03";

#[test]
fn exemplars_come_with_their_samples() {
    run(async |bench| {
        let line = r#"c_total 5 # {trace_id="x"} 0.5 1.25"#;
        bench.body_of(OPENMETRICS, &format!("# TYPE c counter\n{line}\n# EOF\n"));
        bench.apply(job()).await;
        let expected = r#"c_total{instance="a", job="j"} 5 # {trace_id="x"} 0.5"#;
        assert_eq!(bench.scraped(), [expected]);
    });
}

#[test]
fn classic_histograms_are_converted_line_by_line() {
    let lines = |a: u8| {
        format!(
            "# TYPE h histogram\nh_bucket{{le=\"1\",x=\"1\"}} {a}\nh_bucket{{x=\"1\",le=\"+Inf\"}} 3\n\
             h_sum{{x=\"1\"}} 9\nh_count{{x=\"1\"}} 3\nh_bucket{{le=\"+Inf\"}} 2\nh_count 2\nh_sum 1\nother 1\n"
        )
    };
    let converted = [
        r#"h{instance="a", job="j", x="1"} {count:3, sum:9, [-Inf,1]:1, (1,+Inf]:2}"#,
        r#"h{instance="a", job="j"} {count:2, sum:1, [-Inf,+Inf]:2}"#,
        r#"other{instance="a", job="j"} 1"#,
    ];
    let histograms = HistogramOptions { convert: true, classic: false, native: false };
    run(async |bench| {
        bench.body(&lines(1));
        bench.apply(Job { histograms, ..job() }).await;
        assert_eq!(bench.scraped(), converted);
        bench.body(&lines(7));
        bench.interval().await;
        let ended = r#"h{instance="a", job="j", x="1"} stale"#;
        assert_eq!(bench.scraped(), [ended, converted[1], converted[2]]);
        bench.body(&lines(1));
        bench
            .apply(Job { histograms: HistogramOptions { classic: true, ..histograms }, ..job() })
            .await;
        assert_eq!(bench.scraped().len(), 10, "both");
    });
}

#[test]
fn native_histograms_within_their_limits() {
    let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    let native = HistogramOptions { native: true, classic: false, convert: false };
    let of = |limits| Job { histograms: native, limits, ..job() };
    let labels = r#"h{instance="a", job="j"}"#;
    run(async |bench| {
        bench.body_of(kind, NATIVE);
        bench.apply(of(JobLimits::default())).await;
        let whole = format!("{labels} {{count:3, sum:5, (1,2]:2, (2,4]:1}} since 3000");
        assert_eq!(bench.scraped(), [whole]);
        bench.apply(of(JobLimits { histogram_buckets: 1, ..JobLimits::default() })).await;
        let coarser = format!("{labels} {{count:3, sum:5, (1,4]:3}} since 3000");
        assert_eq!(bench.scraped(), [coarser]);
        let schema = JobLimits { histogram_schema_max: Some(-2), ..JobLimits::default() };
        bench.apply(of(schema)).await;
        let coarsest = format!("{labels} {{count:3, sum:5, (1,16]:3}} since 3000");
        assert_eq!(bench.scraped(), [coarsest]);
    });
}
