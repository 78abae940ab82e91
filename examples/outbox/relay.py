#!/usr/bin/env python3
"""Ships the outbox to JetStream through Sluice: every event once, those of a subject in order, whatever kills this script.

A batch holds the oldest unshipped event of each subject. Each is stored under a condition: the stream's last message of
the subject must be the one that the outbox knows. So an event that was stored already, however long ago, is refused; the
relay then looks at what the stream has, finds the event there, and notes it as shipped.

Python 3.9 or newer, nothing else. SLUICE_AUTHORIZATION: the value of the Authorization header.
"""

import argparse
import fcntl
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

from outbox import open_database, transaction

# The bridge ends a request before that.
TIMEOUT_S = 60.0
# After a failure, growing until something is shipped.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
# How often an empty outbox is looked at again.
POLL_S = 0.1

# Of the columns beside min() SQLite gives those of the row that has the minimum.
OLDEST = """
    SELECT min(position) AS position, id, subject, data, coalesce(last_seq, 0) AS last_seq
    FROM outbox LEFT JOIN subjects USING (subject)
    WHERE seq IS NULL GROUP BY subject ORDER BY min(position) LIMIT ?
"""
MOVE = "INSERT INTO subjects VALUES (?, ?) ON CONFLICT (subject) DO UPDATE SET last_seq = excluded.last_seq"


class Stop(Exception):
    """Why the work cannot go on."""


class Refused(Exception):
    """A problem that Sluice answered instead of a result."""

    def __init__(self, problem):
        self.problem = problem
        super().__init__(f"{problem['code']}: {problem['detail']}")


class Bridge:
    """What the relay asks of Sluice."""

    def __init__(self, url, stream):
        self._url = f"{url.rstrip('/')}/v1"
        self._stream = stream

    def make_stream(self, subjects):
        """Leaves one alone that has a configuration of its own, or that somebody else has to make."""
        try:
            self._call("POST", "/streams", json.dumps({"name": self._stream, "subjects": [subjects]})).close()
        except Refused as refused:
            if refused.problem["code"] not in ("stream_exists", "forbidden"):
                raise

    def publish(self, events):
        """Sends a batch, and gives what became of each event as soon as it is told. Raises what ends that early."""
        lines = "".join(f"{json.dumps(message_of(event))}\n" for event in events)
        with self._call("POST", "/messages", lines, "application/x-ndjson") as answer:
            for result in map(json.loads, answer):
                if "index" not in result:
                    raise Refused(result["error"])
                yield events[result["index"]], result

    def last_message(self, subject):
        """None where the stream has no message of the subject."""
        path = f"/streams/{urllib.parse.quote(self._stream, safe='')}/messages/last"
        try:
            with self._call("GET", f"{path}?{urllib.parse.urlencode({'subject': subject})}") as answer:
                return json.load(answer)
        except Refused as refused:
            if refused.problem["code"] != "message_not_found":
                raise
            return None

    def _call(self, method, path, content=None, kind="application/json"):
        headers = {"Accept": kind, "Content-Type": kind}
        if "SLUICE_AUTHORIZATION" in os.environ:
            headers["Authorization"] = os.environ["SLUICE_AUTHORIZATION"]
        request = urllib.request.Request(self._url + path, content and content.encode(), headers, method=method)
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as failure:
            if failure.headers.get_content_type() != "application/problem+json":
                raise
            with failure:
                raise Refused(json.load(failure)) from None


def message_of(event):
    return {
        "subject": event["subject"],
        "data": event["data"],
        "headers": {"Content-Type": "application/json"},
        "id": event["id"],
        "expected_last_subject_seq": event["last_seq"],
    }


def is_stored_as(event, message):
    """The bridge puts the name of the caller in front of a key, where callers have one (AUTH=nats)."""
    return any(key.endswith(event["id"]) for key in message["headers"].get("Nats-Msg-Id", []))


def may_pass(failure):
    """What the problem says; where something before Sluice answered (a proxy), what HTTP says."""
    if isinstance(failure, Refused):
        return failure.problem["retryable"]
    return not isinstance(failure, urllib.error.HTTPError) or failure.code == 429 or failure.code >= 500


class Relay:
    """Takes events from the outbox to the stream. All that it knows is in the database: it can be killed anywhere."""

    def __init__(self, db, bridge):
        self._db = db
        self._bridge = bridge
        self.shipped = 0
        self.known = 0

    def run(self, options):
        """Ships until nothing is left, or for ever. After a failure that may pass it begins again, as after a crash."""
        pause = FIRST_PAUSE_S
        while True:
            before = self.shipped
            try:
                self._bridge.make_stream(options.subjects)
                return self._ship_all(options.batch, options.follow)
            except (OSError, http.client.HTTPException, Refused) as failure:
                if not may_pass(failure):
                    raise
                pause = FIRST_PAUSE_S if self.shipped > before else pause
                say(f"{failure or type(failure).__name__}; again in {pause:.1f} s")
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(LONGEST_PAUSE_S, pause * 2)

    def _ship_all(self, batch, follow):
        while True:
            events = self._db.execute(OLDEST, (batch,)).fetchall()
            if events:
                self._ship(events)
            elif follow:
                time.sleep(POLL_S)
            else:
                return

    def _ship(self, events):
        """Notes what was answered, also where no more answers come: what has none is sent again."""
        stored, refused = [], []
        try:
            for event, result in self._bridge.publish(events):
                (refused if "error" in result else stored).append((event, result))
        finally:
            self._note(stored)
        for event, result in refused:
            self._settle(event, result["error"])

    def _note(self, stored):
        with transaction(self._db):
            for event, result in stored:
                self._db.execute("UPDATE outbox SET seq = ? WHERE position = ?", (result["seq"], event["position"]))
                self._db.execute(MOVE, (event["subject"], result["seq"]))
        self.shipped += len(stored)
        self.known += sum(result["duplicate"] for _, result in stored)

    def _settle(self, event, problem):
        """An event was refused. Where its condition was, the stream's last message of the subject tells why."""
        if problem["code"] != "precondition_failed":
            raise Refused({**problem, "detail": f"event {event['position']} of the outbox: {problem['detail']}"})
        subject, last_seq = event["subject"], event["last_seq"]
        last = self._bridge.last_message(subject)
        seq = last["seq"] if last else 0
        if last and is_stored_as(event, last):
            self._note([(event, {"seq": seq, "duplicate": True})])
        elif seq > last_seq:
            raise Stop(f"message {seq} of {subject} is not of this outbox: a subject can have one producer alone")
        elif seq < last_seq:
            say(f"the stream does not have message {last_seq} of {subject} any more; what follows comes after {seq}")
            with transaction(self._db):
                self._db.execute(MOVE, (subject, seq))
        else:
            raise Refused({**problem, "retryable": True})


def say(text):
    print(f"relay.py: {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--url", default=os.environ.get("SLUICE_URL", "http://127.0.0.1:8787"))
    parser.add_argument("--stream", default="SHOP", help="made where it does not exist; default: %(default)s")
    parser.add_argument("--subjects", default="shop.>", help="what the stream listens on; default: %(default)s")
    parser.add_argument("--db", default="shop.db", help="the database; default: %(default)s")
    parser.add_argument("--batch", type=int, default=500, help="events per request, 1 to 1000; default: %(default)s")
    parser.add_argument("--follow", action="store_true", help="wait for more at the end, until killed")
    options = parser.parse_args()
    try:
        with open(f"{options.db}.lock", "w") as lock, open_database(options.db) as db:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            relay = Relay(db, Bridge(options.url, options.stream))
            relay.run(options)
    except BlockingIOError:
        say(f"another relay ships {options.db}")
        sys.exit(1)
    except (Stop, Refused, OSError, sqlite3.Error, ValueError) as why:
        say(str(why))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"{options.db}: {relay.shipped} events shipped, {relay.known} of them stored before")


main()
