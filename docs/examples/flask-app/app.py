"""A small bookshop in Flask that Tidemark (or Prometheus) scrapes.

    python app.py [--host 127.0.0.1] [--port 8080] [--visitors 5]

`--visitors N` lets N simulated visitors a second walk through the shop, so that there is something to see.
"""

import argparse
import random
import threading
import time

from flask import Flask, Response, abort, g, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from collector import DatabaseCollector
from database import BOOKS, Database
from metrics import ACTIVE_USERS, REGISTRY, REQUEST_SECONDS, REQUESTS

TIERS = ("free", "basic", "premium")


def create_app(database: Database) -> Flask:
    """The shop's routes, each counted and timed."""
    app = Flask(__name__)

    @app.before_request
    def begin():
        g.began = time.perf_counter()

    @app.after_request
    def record(response):
        endpoint = request.url_rule.rule if request.url_rule else "unknown"
        if endpoint != "/metrics":
            REQUESTS.labels(request.method, endpoint, response.status_code).inc()
            REQUEST_SECONDS.labels(request.method, endpoint).observe(time.perf_counter() - g.began)
        return response

    @app.get("/metrics")
    def metrics():
        return Response(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)

    @app.get("/api/books")
    def books():
        return jsonify([{"title": title, "price": price} for title, price in database.books()])

    @app.post("/api/orders")
    def order():
        wanted = request.get_json()
        if wanted.get("copies", 0) < 1:
            abort(400, "an order is for one copy or more")
        # The payment provider has a bad day now and then.
        if random.random() < 0.03:
            abort(503, "the payment was not answered")
        return jsonify({"order": database.order(wanted["title"], wanted["copies"])}), 201

    @app.get("/api/report")
    def report():
        time.sleep(random.expovariate(1 / 0.06))
        return jsonify({"revenue": database.revenue()})

    return app


def visit(app: Flask, visitors_per_second: float):
    """Walks simulated visitors through the shop for ever: most look, some order, few ask for the report."""
    shop = app.test_client()
    while True:
        title, _ = random.choice(BOOKS)
        shop.get("/api/books")
        if random.random() < 0.5:
            shop.post("/api/orders", json={"title": title, "copies": random.choice((0, 1, 1, 2, 5))})
        if random.random() < 0.2:
            shop.get("/api/report")
        for share, tier in enumerate(TIERS, start=1):
            ACTIVE_USERS.labels(tier).set(round(random.gauss(visitors_per_second * 60 / share, 3)))
        time.sleep(random.expovariate(visitors_per_second))


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--port", type=int, default=8080)
    flags.add_argument("--visitors", type=float, default=0, help="simulated visitors a second")
    chosen = flags.parse_args()

    database = Database()
    REGISTRY.register(DatabaseCollector(database))
    app = create_app(database)
    if chosen.visitors > 0:
        threading.Thread(target=visit, args=(app, chosen.visitors), daemon=True).start()
    app.run(host=chosen.host, port=chosen.port, threaded=True)


if __name__ == "__main__":
    main()
