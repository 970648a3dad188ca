"""A custom collector: figures that nobody counts along the way and that are asked for at each scrape instead."""

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from database import Database


class DatabaseCollector(Collector):
    """How busy the connection pool is, and how large each table has grown."""

    def __init__(self, database: Database):
        self._database = database

    def collect(self):
        sizes = self._database.table_bytes()
        idle = self._database.idle()

        pool = GaugeMetricFamily(
            "db_connection_pool_size", "Connections of the pool, by what they do.", labels=["state"]
        )
        pool.add_metric(["active"], self._database.size - idle)
        pool.add_metric(["idle"], idle)
        yield pool

        tables = GaugeMetricFamily("db_table_size_bytes", "Bytes of a table's rows.", labels=["table"])
        for table, size in sizes.items():
            tables.add_metric([table], size)
        yield tables
