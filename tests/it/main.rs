//! Tests of the whole: one binary, because each test binary links polars and SQLite again.

mod tidy;
