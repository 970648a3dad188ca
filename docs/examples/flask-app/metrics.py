"""The shop's instruments: one registry, and every family that the code updates itself.

Names and labels are a contract: the dashboards, rules and queries in README.md are written against them.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "http_requests_total",
    "Requests answered, by the status they were answered with.",
    ["method", "endpoint", "status"],
    registry=REGISTRY,
)

REQUEST_SECONDS = Histogram(
    "http_request_duration_seconds",
    "Time from a request's arrival to its answer.",
    ["method", "endpoint"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 5.0),
    registry=REGISTRY,
)

QUERY_SECONDS = Summary(
    "db_query_duration_seconds",
    "Time spent in the database, by the kind of statement.",
    ["query_type"],
    registry=REGISTRY,
)

ACTIVE_USERS = Gauge(
    "active_users",
    "Visitors seen within the last minute, by what they pay for.",
    ["tier"],
    registry=REGISTRY,
)
