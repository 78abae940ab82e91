"""What read.py and share.py both need: requests that are sent again where that is safe, payloads as bytes, sure files."""

import base64
import fcntl
import http.client
import json
import os
import random
import ssl
import sys
import time
import urllib.parse

LONGEST_WAIT_S = 30.0
# What a server may need beyond the time it was asked to wait; the bridge ends each request by its own deadline before.
GRACE_S = 30.0
# Where something before the bridge answers: a proxy, or the edge (52x, 530).
WORTH_A_RETRY = {408, 425, 429, 500, 502, 503, 504, *range(520, 530), 530}


class Problem(Exception):
    """An answer that is no success and that a retry cannot help. `code` is Sluice's, or None where it was not Sluice."""

    def __init__(self, status, body):
        self.status = status
        self.body = body
        self.code = body.get("code")
        super().__init__(f"{status} {self.code or ''}: {body.get('detail', 'not an answer of Sluice')}")


class Bridge:
    """Sluice at a base URL, over one connection that is opened again when it breaks."""

    def __init__(self, url, authorization=None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no http:// or https:// URL")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port)
        self._base = parts.path.rstrip("/")
        self._headers = {"Accept": "application/json"}
        if authorization:
            self._headers["Authorization"] = authorization

    def close(self):
        self._connection.close()

    def request(self, method, path, query=None, body=None, wait_ms=0):
        """Sends a request until it is answered for good; gives the JSON of a 2xx, else raises `Problem`.

        Only for requests that may be repeated: reads, PUT, pull (what a lost answer held is delivered again), acks.
        """
        target = self._base + path + ("?" + urllib.parse.urlencode(query) if query else "")
        attempt = 0
        while True:
            try:
                return self._send(method, target, body, wait_ms)
            except Problem as problem:
                if not may_retry(problem):
                    raise
                failure, told = problem, problem.body.get("retry_after", 0)
            except ssl.SSLCertVerificationError:
                raise
            except (OSError, http.client.HTTPException) as broken:
                self._connection.close()
                failure, told = broken, 0
            wait = max(told, min(LONGEST_WAIT_S, 0.2 * 2**attempt) * random.uniform(0.5, 1))
            say(f"{method} {path} failed ({failure or type(failure).__name__}); again in {wait:.1f} s")
            time.sleep(wait)
            attempt = min(attempt + 1, 10)

    def _send(self, method, target, body, wait_ms):
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        self._connection.timeout = wait_ms / 1000 + GRACE_S
        if self._connection.sock:
            self._connection.sock.settimeout(self._connection.timeout)
        self._connection.request(method, target, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if not 200 <= answer.status < 300 or answer.headers.get_content_type() != "application/json":
            raise Problem(answer.status, problem_of(answer, content))
        return json.loads(content)


def problem_of(answer, content):
    """The members of a problem; of anything else only what HTTP itself says."""
    is_problem = answer.headers.get_content_type() == "application/problem+json"
    members = json.loads(content) if is_problem else {}
    after = answer.headers.get("Retry-After", "")
    return {**members, "retry_after": int(after)} if after.isdigit() else members


def may_retry(problem):
    """What the problem itself says; where something before the bridge answered (a proxy), what HTTP says."""
    if "retryable" in problem.body:
        return problem.body["retryable"]
    return problem.status in WORTH_A_RETRY


def payload_of(message):
    """The payload byte for byte: `data` is UTF-8 text, `data_base64` is what is not."""
    if "data_base64" in message:
        return base64.b64decode(message["data_base64"], validate=True)
    return message["data"].encode("utf-8")


def host_of(subject):
    """logs.p<partition>.<host>: a host may have dots."""
    return subject.split(".", 2)[2]


def file_name(host):
    """A subject may hold what a path must not, such as a slash."""
    return urllib.parse.quote(host, safe="") + ".log"


def write_whole(path, content):
    """Replaces a file in one step: whoever reads it, after whatever crash, finds the old content or the new."""
    new = path.with_name(path.name + ".new")
    with open(new, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(path.parent)


def lock(file, what):
    """Refuses a second process that would write the same. The lock goes with the process, however it ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"another process writes {what}") from None


def sync_folder(folder):
    """Makes sure of the names in a folder: a new file, a replaced one."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def add_common_options(parser):
    parser.add_argument("--url", default=os.environ.get("SLUICE_URL", "http://127.0.0.1:8787"))
    parser.add_argument("--stream", default=os.environ.get("STREAM", "LOGS"))
    parser.add_argument("--subject", default="logs.*.>", help="only these messages; default: %(default)s")


def bridge_of(options):
    """The credential comes from the environment: the list of processes shows arguments to everyone."""
    return Bridge(options.url, os.environ.get("SLUICE_AUTHORIZATION"))


def say(text):
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)


def run(main):
    """Ends with 1 and one clear line where the work cannot go on."""
    try:
        main()
    except (Problem, ValueError, OSError) as failure:
        say(str(failure))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
