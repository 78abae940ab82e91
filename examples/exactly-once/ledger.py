#!/usr/bin/env python3
"""Keeps account balances from a stream of transfers: each transfer counts exactly once, whatever kills this script.

How far it has read is a row beside the balances, and moves with them in one transaction of SQLite: after a crash the
database is as some page left it, and reading goes on right after that page. Where the stream cannot give what comes next
(`cursor_expired`, `stream_recreated`) it stops and says so: a balance with a hole is worse than an old one.

Python 3.9 or newer, nothing else. SLUICE_AUTHORIZATION: the value of the Authorization header.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# What a server may need beyond the time that it was asked to wait.
GRACE_S = 30.0
LONGEST_PAUSE_S = 30.0

TABLES = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS accounts (
        name TEXT PRIMARY KEY, balance INTEGER NOT NULL, transfers INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS positions (
        stream TEXT PRIMARY KEY, cursor TEXT NOT NULL, seq INTEGER NOT NULL
    ) WITHOUT ROWID;
"""
ADD = """
    INSERT INTO accounts VALUES (:name, :amount, 1)
    ON CONFLICT (name) DO UPDATE SET balance = balance + :amount, transfers = transfers + 1
"""
MOVE = """
    INSERT INTO positions VALUES (?, ?, ?)
    ON CONFLICT (stream) DO UPDATE SET cursor = excluded.cursor, seq = excluded.seq
"""


class Stop(Exception):
    """Why the work cannot go on. The ledger is as the last whole page left it."""


class Ledger:
    """The balances, and the position in the stream up to which they are right: one database, one transaction."""

    def __init__(self, path, stream):
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.executescript(TABLES)
        self._stream = stream

    def close(self):
        self._db.close()

    def position(self):
        """The cursor to go on from, and the sequence of the last message that was booked."""
        found = self._db.execute("SELECT cursor, seq FROM positions WHERE stream = ?", (self._stream,))
        return found.fetchone() or (None, 0)

    def book(self, page, cursor):
        """Books a page that was read from `cursor` and moves on behind it: both, or neither."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            current, seq = self.position()
            if current != cursor:
                raise Stop("another process keeps this ledger too, and was faster")
            for message in page["messages"]:
                seq = self._transfer(message, seq + 1)
            self._db.execute(MOVE, (self._stream, page["cursor"], seq))

    def _transfer(self, message, wanted):
        """All messages of the stream are read, so that a hole in the sequences is a message that was deleted."""
        seq, transfer = message["seq"], message.get("json")
        if seq != wanted:
            raise Stop(f"message {wanted} is gone, the next one there is {seq}")
        try:
            amount, payer, payee = transfer["amount"], transfer["from"], transfer["to"]
        except (TypeError, KeyError):
            raise Stop(f"message {seq} is no transfer") from None
        if type(amount) is not int or amount <= 0:
            raise Stop(f"message {seq} has no amount to transfer")
        self._db.execute(ADD, {"name": payer, "amount": -amount})
        self._db.execute(ADD, {"name": payee, "amount": amount})
        return seq


class Stream:
    """The stream that is read: by cursor, so that the bridge keeps nothing for this reader."""

    def __init__(self, options):
        self._url = f"{options.url.rstrip('/')}/v1/streams/{urllib.parse.quote(options.stream, safe='')}"
        self._page = {"limit": options.limit, "payload": "json", "on_gap": "error"}
        self._wait_ms = options.wait_ms if options.follow else 0
        self._headers = {"Accept": "application/json"}
        if "SLUICE_AUTHORIZATION" in os.environ:
            self._headers["Authorization"] = os.environ["SLUICE_AUTHORIZATION"]

    def page_after(self, cursor):
        """The next page; waits for its first message where the stream is to be followed."""
        origin = {"cursor": cursor} if cursor else {"start": "beginning"}
        query = urllib.parse.urlencode({**self._page, **origin, "wait_ms": self._wait_ms})
        return self._get(f"{self._url}/messages?{query}")

    def _get(self, url):
        """Asks until there is an answer, and raises what asking again cannot change."""
        pause = 0.2
        while True:
            try:
                return self._get_once(url)
            except (OSError, http.client.HTTPException) as failure:
                say(f"no answer ({failure or type(failure).__name__}); again in {pause:.1f} s")
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(LONGEST_PAUSE_S, pause * 2)

    def _get_once(self, url):
        request = urllib.request.Request(url, headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._wait_ms / 1000 + GRACE_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                problem = problem_of(refusal)
            if problem["retryable"]:
                raise
            raise Stop(f"{problem['code']}: {problem['detail']}") from None


def problem_of(refusal):
    """Sluice's own words; where something before it answered (a proxy), what HTTP says."""
    if refusal.headers.get_content_type() == "application/problem+json":
        return json.load(refusal)
    passing = refusal.code in (408, 429) or refusal.code >= 500
    return {"code": refusal.code, "detail": refusal.reason, "retryable": passing}


def keep(ledger, stream, follow):
    """Books page after page; gives how many messages there were."""
    booked = 0
    while True:
        cursor, _ = ledger.position()
        page = stream.page_after(cursor)
        if page["messages"]:
            ledger.book(page, cursor)
        booked += len(page["messages"])
        if page["up_to_date"] and not follow:
            return booked


def say(text):
    print(f"ledger.py: {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--url", default=os.environ.get("SLUICE_URL", "http://127.0.0.1:8787"))
    parser.add_argument("--stream", default="BANK", help="default: %(default)s")
    parser.add_argument("--db", default="ledger.db", help="the database; default: %(default)s")
    parser.add_argument("--limit", type=int, default=500, help="messages per page and transaction, 1 to 1000")
    parser.add_argument("--follow", action="store_true", help="wait for more at the end, until killed")
    parser.add_argument("--wait-ms", type=int, default=20_000, help="with --follow: how long a request waits")
    options = parser.parse_args()
    try:
        with contextlib.closing(Ledger(options.db, options.stream)) as ledger:
            booked = keep(ledger, Stream(options), options.follow)
    except (Stop, sqlite3.Error, ValueError) as why:
        say(f"stopped, and nothing after the last whole page is booked: {why}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"{options.db}: {booked} transfers booked")


main()
