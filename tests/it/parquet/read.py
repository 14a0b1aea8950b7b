"""Prints what DuckDB finds in a Parquet file, as JSON."""

import json
import sys

import duckdb

path = sys.argv[1]
db = duckdb.connect()


def ask(sql):
    return db.execute(sql, [path]).fetchall()


def text(value, name):
    """As CSV has it: a time within a day without seconds that are zero; that of a transaction has seconds."""
    if value is None:
        return None
    if type(value).__name__ == "datetime":
        if name == "local_time":
            return value.isoformat(timespec="seconds")
        if (value.hour, value.minute, value.second) == (0, 0, 0):
            return value.date().isoformat()
        return value.isoformat(timespec="seconds" if value.second else "minutes")
    return str(value)


types = [row[:2] for row in ask("DESCRIBE SELECT * FROM read_parquet(?)")]
names = [name for name, _ in types]
# With a zone, Python wants a library more; microseconds it has.
columns = ", ".join(f'epoch_us("{name}")' if "ZONE" in kind else f'"{name}"' for name, kind in types)

print(json.dumps({
    "types": types,
    "rows": [
        [text(value, name) for value, name in zip(row, names)]
        for row in ask(f"SELECT {columns} FROM read_parquet(?)")
    ],
    "about": sorted(
        [key.decode(), value.decode()]
        for key, value in ask("SELECT key, value FROM parquet_kv_metadata(?)")
        if key.startswith(b"creditd.")
    ),
    "compression": (ask("SELECT DISTINCT compression FROM parquet_metadata(?)") or [[None]])[0][0],
}))
