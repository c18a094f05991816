"""A stand-in for the hub's HTTP interface, as far as huggingface_hub 2 calls it.

Repositories live in memory: create, list, preupload, LFS batch and transfer, commit, resolve. What
goes wrong is
given as a function that looks at each request first.

Of Xet, the newer way of transfer, it takes what is sent, and believes what that says of the files'
digests; their content it does not put together, so what was sent in this way cannot be fetched.
Not here: pull requests, gated repositories.
"""

import base64
import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

PAGE = 7
"""Files of one page of a listing: few, so that every listing of a store has several."""
TOKEN = "hf_of_the_tests"
LIBRARY_WARNS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""The library sends files by an old name of an argument."""

API = re.compile(r"/api/(?P<kind>datasets|models)/(?P<name>[^/]+/[^/]+)(?P<rest>/.*)?")
BATCH = re.compile(r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
RESOLVE = re.compile(
    r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)


@dataclass
class Blob:
    """Content of a file: large ones by their SHA-256, small ones by git's SHA-1."""

    digest: str
    size: int
    is_lfs: bool


@dataclass
class Repository:
    is_private: bool
    states: list[tuple[str, dict[str, Blob]]] = field(default_factory=list)
    """Name of each state, oldest first, and its files."""

    def __post_init__(self):
        self.add({})

    def add(self, files):
        sha = hashlib.sha1(repr((len(self.states), sorted(files))).encode()).hexdigest()
        self.states.append((sha, files))
        return sha

    def files(self, revision="main"):
        states = dict(self.states)
        return self.states[-1][1] if revision == "main" else states.get(revision)

    def sha(self, revision):
        return self.states[-1][0] if revision == "main" else revision


class Hub:
    """The server, and what tests look at and break."""

    def __init__(self):
        self.repositories = {}
        self.objects = {}
        """Content by digest."""
        self.shards = []
        """What came by Xet: which pieces make files, and their digests."""
        self.requests = []
        """Method and path of each."""
        self.fault = lambda method, path: None
        """Returns a status to answer with, or None; 0 hangs up, -1 does so halfway through. It may
        also kill somebody."""
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def content(self, kind, name, path):
        return self.objects[self.repositories[kind, name].files()[path].digest]

    def put(self, kind, name, path, data):
        """Change one file, as somebody does on the hub's page."""
        repository = self.repositories[kind, name]
        repository.add({**repository.files(), path: self.keep(data)})

    def keep(self, data, *, is_lfs=False):
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        digest = hashlib.sha256(data).hexdigest() if is_lfs else git
        self.objects[digest] = data
        return Blob(digest, len(data), is_lfs)

    def count(self, method, part):
        """Return how many requests there were with this method and part of a path."""
        return sum(one == method and part in path for one, path in self.requests)


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # small answers wait 40 ms otherwise
        sends_half = False

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.serve()

        def do_GET(self):
            self.serve()

        def do_PUT(self):
            self.serve()

        def do_POST(self):
            self.serve()

        def serve(self):
            body = self.body()
            url = urlsplit(self.path)
            path = unquote(url.path)
            with hub.lock:
                hub.requests.append((self.command, path))
            status = hub.fault(self.command, path)
            if status is not None:
                self.close_connection = True
                if status > 0:
                    self.answer(status, {"error": "made by a test"})
                if status >= 0:
                    return
            self.sends_half = status == -1
            with hub.lock:
                Answer(hub, self, path, parse_qs(url.query), body).find()

        def body(self):
            if self.headers.get("Transfer-Encoding") == "chunked":
                data = b""
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return data
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def answer(self, status, value=b"", headers=()):
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"Content-Length": str(len(data)), **dict(headers)}.items():
                self.send_header(name, text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if self.sends_half else data)

    return Handler


class Answer:
    """One request."""

    def __init__(self, hub, handler, path, query, body):
        self.hub, self.handler, self.path, self.query, self.body = hub, handler, path, query, body
        self.answer = handler.answer

    @property
    def may_write(self):
        return self.handler.headers.get("Authorization") == f"Bearer {TOKEN}"

    def find(self):
        fixed = {"/api/repos/create": self.create, "/api/validate-yaml": self.validate_yaml}
        if self.path in fixed:
            fixed[self.path]()
        elif self.path.startswith(("/v1/", "/v2/")):
            self.xet()
        elif self.path.startswith("/lfs/"):
            self.large_file()
        elif match := API.fullmatch(self.path):
            self.api(f"{match['kind']}", match["name"], match["rest"] or "")
        elif match := BATCH.fullmatch(self.path):
            self.batch()
        elif match := RESOLVE.fullmatch(self.path):
            kind = "datasets" if match["kind"] else "models"
            self.resolve(kind, match["name"], match["revision"], match["path"])
        else:
            self.answer(404, {"error": f"the stand-in has no {self.path}"})

    def create(self):
        if not self.may_write:
            self.answer(401, {"error": "Invalid username or password."})
            return
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        kind = f"{asked.get('type') or 'model'}s"
        is_private = asked.get("visibility") == "private"
        self.hub.repositories.setdefault((kind, name), Repository(is_private))
        page = f"datasets/{name}" if kind == "datasets" else name
        self.answer(200, {"url": f"{self.hub.url}/{page}", "name": name})

    def validate_yaml(self):
        text = json.loads(self.body)["content"]
        head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        try:
            is_good = head is not None and isinstance(yaml.safe_load(head[1]), dict)
        except yaml.YAMLError:
            is_good = False
        errors = [] if is_good else [{"message": "no YAML"}]
        self.answer(200 if is_good else 400, {"errors": errors, "warnings": []})

    def api(self, kind, name, rest):
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.is_private and not self.may_write):
            error = {"X-Error-Code": "RepoNotFound"}
            self.answer(404 if self.may_write else 401, {"error": "Repository not found"}, error)
            return
        verb, _, revision = rest.strip("/").partition("/")
        if repository.files(revision or "main") is None:
            self.answer(404, {"error": "no revision"}, {"X-Error-Code": "RevisionNotFound"})
        elif verb in ("", "revision"):
            sha = repository.sha(revision or "main")
            self.answer(200, {"id": name, "sha": sha, "private": repository.is_private, "tags": []})
        elif verb == "tree":
            self.tree(repository, revision)
        elif not self.may_write:
            self.answer(403, {"error": "no right to write"})
        elif verb == "xet-write-token":
            token = {"casUrl": self.hub.url, "accessToken": "xet", "exp": int(time.time()) + 3600}
            names = {"casUrl": "Cas-Url", "accessToken": "Access-Token", "exp": "Token-Expiration"}
            self.answer(200, token, {f"X-Xet-{names[one]}": str(token[one]) for one in token})
        elif verb == "preupload":
            self.preupload(repository)
        elif verb == "commit":
            self.commit(repository, f"datasets/{name}" if kind == "datasets" else name)

    def tree(self, repository, revision):
        files = sorted(repository.files(revision).items())
        start = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if start + PAGE < len(files):
            following = f"{self.hub.url}{self.path}?recursive=True&cursor={start + PAGE}"
            headers["Link"] = f'<{following}>; rel="next"'
        self.answer(200, [_listed(*one) for one in files[start : start + PAGE]], headers)

    def preupload(self, repository):
        files = []
        for one in json.loads(self.body)["files"]:
            sample = base64.b64decode(one["sample"])
            held = repository.files().get(one["path"])
            mode = "lfs" if b"\0" in sample or one["size"] > 10 * 2**20 else "regular"
            files.append(
                {
                    "path": one["path"],
                    "uploadMode": mode,
                    "shouldIgnore": False,
                    "oid": held.digest if held else None,
                }
            )
        self.answer(200, {"files": files})

    def xet(self):
        if self.path == "/v1/shards":
            self.hub.shards.append(self.body)
        is_known = self.path.startswith(("/v1/shards", "/v1/xorbs/"))
        self.answer(200 if is_known else 404, {"result": 1, "was_inserted": True})

    def came_by_xet(self, digest):
        words = bytes.fromhex(digest)  # four numbers, as Xet writes them
        written = b"".join(words[at : at + 8][::-1] for at in range(0, 32, 8))
        return any(written in shard for shard in self.hub.shards)

    def batch(self):
        if not self.may_write:
            self.answer(403, {"error": "no right to write"})
            return
        objects = []
        for one in json.loads(self.body)["objects"]:
            place = f"{self.hub.url}/lfs/{one['oid']}"
            actions = {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}
            is_held = one["oid"] in self.hub.objects
            objects.append({**one, **({} if is_held else {"actions": actions})})
        self.answer(200, {"transfer": "basic", "objects": objects})

    def large_file(self):
        digest = self.path.split("/")[2]
        if self.path.endswith("/verify"):
            self.answer(200 if digest in self.hub.objects else 404)
        elif self.handler.command == "PUT":
            is_same = hashlib.sha256(self.body).hexdigest() == digest
            if is_same:
                self.hub.objects[digest] = self.body
            self.answer(200 if is_same else 400)
        else:
            self.content(digest)

    def content(self, digest, headers=()):
        data = self.hub.objects[digest]
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.handler.headers.get("Range", ""))
        if span is None:
            self.answer(200, data, {"ETag": f'"{digest}"', **dict(headers)})
            return
        first, last = int(span[1]), int(span[2] or len(data) - 1)
        told = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self.answer(206, data[first : last + 1], {"ETag": f'"{digest}"', **told, **dict(headers)})

    def commit(self, repository, place):
        files = dict(repository.files())
        for line in self.body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "file":
                files[value["path"]] = self.hub.keep(base64.b64decode(value["content"]))
            elif said["key"] == "lfsFile":
                oid = value["oid"]
                assert oid in self.hub.objects or self.came_by_xet(oid)
                files[value["path"]] = Blob(value["oid"], value["size"], is_lfs=True)
            elif said["key"] == "deletedFile":
                del files[value["path"]]
        sha = repository.add(files)
        page = f"{self.hub.url}/{place}/commit/{sha}"
        self.answer(200, {"commitUrl": page, "commitOid": sha})

    def resolve(self, kind, name, revision, path):
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.is_private and not self.may_write):
            self.answer(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        blob = (repository.files(revision) or {}).get(path)
        told = {"X-Repo-Commit": repository.sha(revision)}
        if blob is None:
            self.answer(404, {"error": "no file"}, {**told, "X-Error-Code": "EntryNotFound"})
        elif blob.is_lfs:
            linked = {"X-Linked-Etag": f'"{blob.digest}"', "X-Linked-Size": str(blob.size)}
            # Another host, as on the hub, where large files lie elsewhere.
            place = f"{self.hub.url}/lfs/{blob.digest}".replace("127.0.0.1", "localhost")
            self.answer(302, b"", {**told, **linked, "Location": place})
        else:
            self.content(blob.digest, told)


def _listed(path, blob):
    told = {"type": "file", "path": path, "size": blob.size, "oid": blob.digest[:40]}
    lfs = {"oid": blob.digest, "size": blob.size, "pointerSize": 134}
    return {**told, **({"lfs": lfs} if blob.is_lfs else {})}


@contextmanager
def running_hub():
    server = Hub()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that the library of this process talks to, with a token that may write."""
    from huggingface_hub import constants, file_download, hf_api
    from huggingface_hub.utils import _http

    with running_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(hf_api.api, "endpoint", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        # The library waits between its attempts.
        impatient = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(0.01))
        monkeypatch.setattr(_http, "time", impatient)
        monkeypatch.setattr(file_download, "time", impatient)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield server
