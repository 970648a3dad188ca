"""Reads answers in columns as any client of Apache Arrow does: URLs as arguments, a line of JSON for each.

Floats are given as the integers of their bits, since JSON has no NaN.
"""

import json
import struct
import sys
import urllib.request

import pyarrow
import pyarrow.ipc


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def read(url):
    accept = {"Accept": "application/vnd.apache.arrow.stream"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=accept)) as answer:
        kind = answer.headers["Content-Type"]
        table = pyarrow.ipc.open_stream(answer).read_all()
    table.validate(full=True)
    rows = []
    for row in table.to_pylist():
        times = row.get("timestamps", [row.get("timestamp")])
        values = row.get("values", [row.get("value")])
        milliseconds = [round(time.timestamp() * 1000) for time in times]
        rows.append([dict(row["metric"]), list(zip(milliseconds, map(bits, values)))])
    metadata = {name.decode(): text.decode() for name, text in table.schema.metadata.items()}
    return {"type": kind, "metadata": metadata, "rows": rows}


for url in sys.argv[1:]:
    print(json.dumps(read(url)))
