"""A bookshop's database: SQLite in memory behind a small pool of connections.

The pool is real (a request waits for a free connection), so its figures on /metrics move with the load.
"""

import queue
import sqlite3
from contextlib import contextmanager

from metrics import QUERY_SECONDS

BOOKS = [("Logs", 30), ("Clocks", 25), ("Queues", 20), ("Indexes", 35)]
SCHEMA = """
CREATE TABLE books (title TEXT PRIMARY KEY, price INTEGER NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, title TEXT NOT NULL, copies INTEGER NOT NULL);
"""
# Bytes of a row's values; what SQLite adds for its pages is left out.
TABLE_BYTES = {
    "books": "SELECT coalesce(sum(length(title) + 8), 0) FROM books",
    "orders": "SELECT coalesce(sum(length(title) + 16), 0) FROM orders",
}


class Database:
    """A pool of connections to one shared in-memory database."""

    def __init__(self, connections: int = 4):
        self.size = connections
        self._idle: queue.Queue = queue.Queue()
        for _ in range(connections):
            self._idle.put(
                sqlite3.connect("file:shop?mode=memory&cache=shared", uri=True, check_same_thread=False)
            )
        with self.connection() as first:
            first.executescript(SCHEMA)
            first.executemany("INSERT INTO books VALUES (?, ?)", BOOKS)
            first.commit()

    @contextmanager
    def connection(self):
        """Lends a connection; waits while all are lent."""
        lent = self._idle.get(timeout=5)
        try:
            yield lent
        finally:
            lent.rollback()
            self._idle.put(lent)

    def idle(self) -> int:
        """Connections that nobody holds at this moment."""
        return self._idle.qsize()

    def books(self) -> list:
        with self.connection() as lent, QUERY_SECONDS.labels("select").time():
            return lent.execute("SELECT title, price FROM books ORDER BY title").fetchall()

    def order(self, title: str, copies: int) -> int:
        with self.connection() as lent, QUERY_SECONDS.labels("insert").time():
            added = lent.execute("INSERT INTO orders (title, copies) VALUES (?, ?)", (title, copies))
            lent.commit()
            return added.lastrowid

    def revenue(self) -> int:
        with self.connection() as lent, QUERY_SECONDS.labels("aggregate").time():
            return lent.execute(
                "SELECT coalesce(sum(copies * price), 0) FROM orders JOIN books USING (title)"
            ).fetchone()[0]

    def table_bytes(self) -> dict:
        with self.connection() as lent:
            return {table: lent.execute(sql).fetchone()[0] for table, sql in TABLE_BYTES.items()}
