"""A stand-in for a model hub: one repository, resumable downloads, on loopback."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "a" * 40


class StandInHub:
    """Serves `owner/tiny` with the given files.

    Args:
        files: Name -> content.
        cut_after: Bytes after which the first download of a file breaks off.
    """

    def __init__(self, files: dict[str, bytes], *, cut_after: int | None = None) -> None:
        self.files = files
        self.cut_after = cut_after
        self.stated = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        """The checksums the repository states."""
        self.ranges: list[str] = []

    def info(self) -> dict[str, object]:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": "b" * 40,
                "lfs": {"size": len(data), "sha256": self.stated[name], "pointerSize": 128},
            }
            for name, data in self.files.items()
        ]
        return {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandInHub

    def log_message(self, *_args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._file(is_head=True)

    def do_GET(self) -> None:
        if re.match(r"/api/models/owner/tiny(/revision/\w+)?(\?|$)", self.path):
            self._send(json.dumps(self.hub.info()).encode())
        elif self.path == "/v1/models":
            self._send(json.dumps({"object": "list", "data": [{"id": "remote-model", "object": "model"}]}).encode())
        elif self.path.startswith("/api/models?"):
            self._send(json.dumps([{"id": "owner/tiny", "downloads": 7, "likes": 1}]).encode())
        elif self.path.startswith("/owner/tiny/resolve/"):
            self._file(is_head=False)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _file(self, *, is_head: bool) -> None:
        name = self.path.split("?")[0].rsplit("/", 1)[1]
        data = self.hub.files[name]
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{self.hub.stated[name]}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not is_head:
            self._write(data, start)

    def _write(self, data: bytes, start: int) -> None:
        self.hub.ranges.append(self.headers.get("Range", ""))
        if self.hub.cut_after is not None and start == 0:
            self.wfile.write(data[: self.hub.cut_after])
            self.close_connection = True
        else:
            self.wfile.write(data[start:])


@contextmanager
def serve_hub(hub: StandInHub) -> Iterator[str]:
    """The address of a running stand-in."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
