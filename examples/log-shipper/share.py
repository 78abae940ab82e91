#!/usr/bin/env python3
"""Shares the work on a stream of logs among processes by a durable consumer; any of them may crash at any time.

`work` pulls messages, writes each to a journal of its own, syncs it, and only then acknowledges them. What a crashed
worker had not acknowledged is delivered to another one after the ack wait; what it had written but not acknowledged is in
two journals then. `assemble` joins the journals by sequence, takes each once, and writes one file per host.

Python 3.9 or newer, nothing else. SLUICE_AUTHORIZATION: the value of the Authorization header.
"""

import argparse
import contextlib
import json
import os
import time
import zlib
from pathlib import Path

from sluice import add_common_options, bridge_of, file_name, host_of, lock, payload_of, run, say, sync_folder

# What a journal keeps of a message.
RECORDED = ("seq", "subject", "data", "data_base64")


class Journal:
    """What one worker has written: one message a line, as JSON. A torn line at the end was never acknowledged."""

    def __init__(self, path):
        self._file = open(path, "ab+", buffering=0)
        lock(self._file, path)
        self._file.truncate(end_of_lines(self._file))
        sync_folder(path.parent)

    def write(self, message):
        record = {name: message[name] for name in RECORDED if name in message}
        self._file.write(json.dumps(record).encode() + b"\n")

    def sync(self):
        os.fsync(self._file.fileno())

    def close(self):
        self._file.close()


def end_of_lines(file):
    """The position behind the last newline: JSON has none inside."""
    file.seek(0)
    return file.read().rfind(b"\n") + 1


class Consumer:
    """The durable consumer that the workers share."""

    def __init__(self, bridge, options):
        self._bridge = bridge
        self._options = options
        self._path = f"/v1/streams/{options.stream}/consumers/{options.consumer}"

    def make(self):
        """Every worker asks for the same consumer: the first makes it, for the others it is there."""
        config = {
            "filter_subjects": [self._options.subject],
            "ack_policy": "explicit",
            "ack_wait_ms": self._options.ack_wait_ms,
        }
        self._bridge.request("PUT", self._path, body=config)

    def pull(self):
        wait_ms = self._options.wait_ms
        body = {"batch": self._options.batch, "wait_ms": wait_ms}
        return self._bridge.request("POST", f"{self._path}/pull", body=body, wait_ms=wait_ms)["messages"]

    def acknowledge(self, messages):
        """Gives how many acks came too late: those messages are another worker's by now."""
        acks = [{"token": message["ack_token"], "action": "ack"} for message in messages]
        results = self._bridge.request("POST", "/v1/acks", body={"acks": acks})["results"]
        failed = [result["error"] for result in results if "error" in result]
        if failed:
            say(f"{len(failed)} acks failed, their messages will come again: {failed[0]['detail']}")
        return sum(result.get("status") == "stale" for result in results)

    def is_done(self):
        """Nothing left to deliver, and nothing that a worker still has in its hands."""
        state = self._bridge.request("GET", self._path)
        return state["num_pending"] == 0 and state["num_ack_pending"] == 0


def work(options):
    if options.batch * options.work_ms >= options.ack_wait_ms:
        raise ValueError("a batch must be done within the ack wait: take a smaller --batch or a longer --ack-wait-ms")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.worker}.journal"
    with contextlib.closing(Journal(path)) as journal, contextlib.closing(bridge_of(options)) as bridge:
        written, again, late = share(Consumer(bridge, options), journal, options)
    print(f"{options.worker}: {written} messages written, {again} of them delivered before, {late} acknowledged too late")


def share(consumer, journal, options):
    """Works until nothing is left to do; gives how many messages were written, delivered before, acknowledged too late."""
    consumer.make()
    written = again = late = 0
    while True:
        messages = consumer.pull()
        if not messages and not options.follow and consumer.is_done():
            return written, again, late
        for message in messages:
            time.sleep(options.work_ms / 1000)
            journal.write(message)
            again += message["delivery_count"] > 1
        if messages:
            journal.sync()
            late += consumer.acknowledge(messages)
            written += len(messages)


def assemble(options):
    places, copies = places_by_seq(sorted(options.out.glob("*.journal")))
    with contextlib.ExitStack() as journals, contextlib.ExitStack() as outputs:
        opened, hosts = {}, {}
        for seq in sorted(places):
            path, start, _ = places[seq]
            if path not in opened:
                opened[path] = journals.enter_context(open(path, "rb"))
            opened[path].seek(start)
            message = json.loads(opened[path].readline())
            host = host_of(message["subject"])
            if host not in hosts:
                hosts[host] = outputs.enter_context(open(options.out / f"{file_name(host)}.new", "wb"))
            hosts[host].write(payload_of(message))
        for file in hosts.values():
            file.flush()
            os.fsync(file.fileno())
    for host in hosts:
        os.replace(options.out / f"{file_name(host)}.new", options.out / file_name(host))
    sync_folder(options.out)
    print(f"{options.out}: {len(places)} messages of {len(hosts)} hosts, {copies} copies left out")


def places_by_seq(paths):
    """Where each message lies: journal, position, checksum. Counts what lies in more than one place."""
    places = {}
    copies = 0
    for path in paths:
        with open(path, "rb") as file:
            start = 0
            for line in file:
                if line.endswith(b"\n"):
                    seq, place = json.loads(line)["seq"], (path, start, zlib.crc32(line))
                    if places.setdefault(seq, place) is not place:
                        copies += 1
                        if places[seq][2] != place[2]:
                            raise ValueError(f"message {seq} is not the same everywhere: journals of different streams")
                start += len(line)
    return places, copies


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)

    worker = commands.add_parser("work", help="take part in the work until nothing is left to do")
    add_common_options(worker)
    worker.add_argument("--out", type=Path, required=True, help="folder for the journals")
    worker.add_argument("--worker", required=True, help="name of this worker's journal; no two at a time have the same")
    worker.add_argument("--consumer", default="archive", help="durable consumer; default: %(default)s")
    worker.add_argument("--batch", type=int, default=100, help="messages per pull, 1 to 1000")
    worker.add_argument("--wait-ms", type=int, default=1_000, help="how long a pull waits for the first message")
    worker.add_argument("--ack-wait-ms", type=int, default=5_000, help="after this, messages of a crashed worker come again")
    worker.add_argument("--work-ms", type=float, default=0, help="pretend that each message takes so long, to try crashes")
    worker.add_argument("--follow", action="store_true", help="wait for more, until killed")
    worker.set_defaults(run=work)

    assembler = commands.add_parser("assemble", help="join the journals into one file per host")
    assembler.add_argument("--out", type=Path, required=True, help="folder of the journals")
    assembler.set_defaults(run=assemble)

    options = parser.parse_args()
    options.run(options)


run(main)
