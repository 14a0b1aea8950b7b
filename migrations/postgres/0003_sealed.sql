-- Parts of the ledger that were written to files, as their manifests: JSON, to the byte as in the file, and its SHA-256. Each
-- manifest names the hash of the one before it. What is in the files never changes; a part that joins others says so.
CREATE TABLE sealed (
    number   BIGINT NOT NULL PRIMARY KEY CHECK (number > 0),
    manifest TEXT   NOT NULL,
    hash     TEXT   NOT NULL
);
