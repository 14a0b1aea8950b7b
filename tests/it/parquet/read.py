"""Prints what DuckDB finds in a Parquet file, as JSON."""

import json
import sys

import duckdb

path = sys.argv[1]
db = duckdb.connect()


def ask(sql):
    return db.execute(sql, [path]).fetchall()


def text(value):
    """As CSV has it: a time within a day without seconds that are zero."""
    if value is None:
        return None
    if type(value).__name__ == "datetime":
        if (value.hour, value.minute, value.second) == (0, 0, 0):
            return value.date().isoformat()
        return value.isoformat(timespec="seconds" if value.second else "minutes")
    return str(value)


print(json.dumps({
    "types": [row[:2] for row in ask("DESCRIBE SELECT * FROM read_parquet(?)")],
    "rows": [[text(value) for value in row] for row in ask("SELECT * FROM read_parquet(?)")],
    "about": sorted(
        [key.decode(), value.decode()]
        for key, value in ask("SELECT key, value FROM parquet_kv_metadata(?)")
        if key.startswith(b"creditd.")
    ),
    "compression": (ask("SELECT DISTINCT compression FROM parquet_metadata(?)") or [[None]])[0][0],
}))
