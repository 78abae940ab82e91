"""The outbox: a table beside the data, so that an event is written in the transaction of what it tells of."""

import contextlib
import json
import sqlite3
import uuid

# SQLite has one writer at a time: events have their positions in the order in which they were committed.
TABLES = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS outbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,  -- the idempotency key, the same however often the event is sent
        subject TEXT NOT NULL,
        data TEXT NOT NULL,
        seq INTEGER               -- where the stream has it; NULL: it is not known to be there
    );
    CREATE INDEX IF NOT EXISTS unshipped ON outbox (subject, position) WHERE seq IS NULL;
    CREATE TABLE IF NOT EXISTS subjects (
        subject TEXT PRIMARY KEY,
        last_seq INTEGER NOT NULL -- the last message that the stream has of it; none: 0
    ) WITHOUT ROWID;
"""


def open_database(path):
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(TABLES)
    return contextlib.closing(db)


@contextlib.contextmanager
def transaction(db):
    """All of it or nothing, whatever happens in between."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        yield


def add_event(db, subject, event):
    """To be called in the transaction that writes what the event tells of."""
    values = (str(uuid.uuid4()), subject, json.dumps(event))
    db.execute("INSERT INTO outbox (id, subject, data) VALUES (?, ?, ?)", values)
