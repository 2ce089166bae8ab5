"""A registry of images on a port of one's own: what pulls need of the distribution specification.

It serves the OCI layouts that tests build, under the names that the test gives; run as a program:
`python registry.py PORT NAME=ARCHIVE ...`.
"""

import base64
import json
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PRIVATE = "private/"
"""Images of names that begin like this are for USER alone."""
USER, PASSWORD = "somebody", "s3cret"
ALLOWED = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"


class Repository(NamedTuple):
    """One image: its manifest, and everything by digest."""

    manifest: str
    """The digest of its manifest."""
    blobs: dict[str, bytes]


def read(archive: Path) -> Repository:
    """Read an OCI layout."""
    with tarfile.open(archive) as tar:
        files = {m.name.removeprefix("./"): tar.extractfile(m) for m in tar if m.isfile()}
        data = {name: file.read() for name, file in files.items() if file}
    prefix = "blobs/sha256/"
    blobs = {
        f"sha256:{name.removeprefix(prefix)}": text
        for name, text in data.items()
        if name.startswith(prefix)
    }
    return Repository(json.loads(data["index.json"])["manifests"][0]["digest"], blobs)


class Handler(BaseHTTPRequestHandler):
    """Answers /v2/, manifests by tag or digest, and blobs."""

    repositories: dict[str, Repository] = {}  # noqa: RUF012 -- set once, before serving

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        if self.path == "/v2/":
            self._send(b"{}", "application/json", body=body)
            return
        path = urlsplit(self.path).path  # a mirror is told whose image is meant, in the query
        name, _, rest = path.removeprefix("/v2/").rpartition("/")
        name, _, what = name.rpartition("/")
        repository = self.repositories.get(name)
        if name.startswith(PRIVATE) and self.headers.get("Authorization") != ALLOWED:
            self._refuse()
            return
        if repository is None:
            self.send_error(404)
            return
        digest = rest if rest.startswith("sha256:") else repository.manifest
        data = repository.blobs.get(digest)
        if data is None:
            self.send_error(404)
            return
        kind = "application/octet-stream"
        if what == "manifests":
            kind = json.loads(data).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        self._send(data, kind, digest, body=body)

    def _refuse(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="tests"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes, kind: str, digest: str = "", *, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


def main() -> None:
    """Serve until killed."""
    port, *images = sys.argv[1:]
    pairs = (image.partition("=") for image in images)
    Handler.repositories = {name: read(Path(archive)) for name, _, archive in pairs}
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
