#!/usr/bin/env python3
"""Reads a stream of logs by cursor into one file per host, each line once and in order, whatever kills this script.

The bridge and JetStream keep nothing for this reader. What it knows is in one small file, `.position.json`: a cursor, and
how long each output file was at that cursor. Lines are appended and synced first, then the position is replaced in one
step. After a crash the files may be longer than the position says: they are cut back to it, and reading goes on from there.

Python 3.9 or newer, nothing else. SLUICE_AUTHORIZATION: the value of the Authorization header.
"""

import argparse
import contextlib
import json
import os
from pathlib import Path

from sluice import add_common_options, bridge_of, file_name, host_of, lock, payload_of, run, say, write_whole


def append(path, content):
    """Appends and comes back when the disk has it."""
    with open(path, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class Output:
    """A folder of files, one per host, and the position up to which they are right."""

    def __init__(self, folder):
        self._folder = folder
        self._position = folder / ".position.json"
        self.cursor = None
        self._lengths = {}

    def restore(self):
        """Goes back to the last position: what was appended after it is cut off, and will be read again."""
        if not self._position.exists():
            return
        position = json.loads(self._position.read_bytes())
        self.cursor, self._lengths = position["cursor"], position["lengths"]
        for host, length in self._lengths.items():
            path = self._path(host)
            size = path.stat().st_size if path.exists() else 0
            if size < length:
                raise ValueError(f"{path} has {size} bytes, but {length} were written: it was changed by somebody else")
            if size > length:
                os.truncate(path, length)

    def store(self, messages, cursor):
        """Appends the messages, then moves the position behind them."""
        texts = {}
        for message in messages:
            texts.setdefault(host_of(message["subject"]), []).append(payload_of(message))
        self._adopt([host for host in texts if host not in self._lengths])
        for host, lines in texts.items():
            text = b"".join(lines)
            append(self._path(host), text)
            self._lengths[host] += len(text)
        if cursor != self.cursor:
            self.cursor = cursor
            self._save()

    def _adopt(self, hosts):
        """A file is entered with length 0 before it is made: a crash in between leaves none that nobody knows."""
        for host in hosts:
            if self._path(host).exists():
                raise ValueError(f"{self._path(host)} exists, but was not written from here: choose another folder")
            self._lengths[host] = 0
        if hosts:
            self._save()

    def _save(self):
        position = {"cursor": self.cursor, "lengths": self._lengths}
        write_whole(self._position, json.dumps(position, indent=1).encode())

    def _path(self, host):
        return self._folder / file_name(host)


def read(bridge, options):
    output = Output(options.out)
    output.restore()
    wait_ms = options.wait_ms if options.follow else 0
    count = 0
    while True:
        query = {"subject": options.subject, "limit": options.limit, "wait_ms": wait_ms, "on_gap": options.on_gap}
        query.update({"cursor": output.cursor} if output.cursor else {"start": "beginning"})
        page = bridge.request("GET", f"/v1/streams/{options.stream}/messages", query, wait_ms=wait_ms)
        if "gap" in page:
            say(f"messages are gone before they were read: {json.dumps(page['gap'])}")
        output.store(page["messages"], page["cursor"])
        count += len(page["messages"])
        if page["up_to_date"] and not options.follow:
            return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_common_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files and the position")
    parser.add_argument("--follow", action="store_true", help="wait for more at the end, until killed")
    parser.add_argument("--wait-ms", type=int, default=20_000, help="with --follow: how long a request waits")
    parser.add_argument("--limit", type=int, default=1_000, help="messages per page, 1 to 1000")
    parser.add_argument(
        "--on-gap",
        choices=["error", "skip"],
        default="error",
        help="where the stream has dropped messages that were not read: stop (default), or say so and go on",
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / ".lock", "w") as file, contextlib.closing(bridge_of(options)) as bridge:
        lock(file, options.out)
        count = read(bridge, options)
    print(f"{options.out}: {count} lines read")


run(main)
