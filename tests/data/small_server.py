"""A server on this computer that behaves well, badly and unluckily, and a data set that it offers."""

import hashlib
import io
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from delineate.data.readers.about import About, Download


@dataclass
class Page:
    """What the server answers at a path."""

    body: bytes
    etag: str | None = '"v1"'
    kind: str = "application/zip"
    status: int = 200
    cuts: list[int] = field(default_factory=list)  # of each of the next answers: bytes until the cut
    ranges: bool = True
    length: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    before: object = None  # called with this page ahead of each answer


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = {}
        self.requests = []  # (path, Range or None)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def offer(self, name, body=None, **options):
        """Serve an archive under a name and return its page."""
        self.pages[f"/{name}"] = page = Page(archive() if body is None else body, **options)
        return page

    def about(self, *names, **options):
        """A data set of which each file is offered here."""
        downloads = tuple(Download(f"{self.url}/{name}", name, **options) for name in names)
        return about_of(downloads)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        page = self.server.pages[self.path]
        if page.before:
            page.before(page)
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        time.sleep(page.delay)
        start, status = 0, page.status
        fresh = self.headers.get("If-Range") in (None, page.etag)
        if asked and page.ranges and fresh and status == 200:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 206 if start < len(page.body) else 416
        body = page.body[start:] if status != 416 else b""
        self.send_response(status)
        for name, value in {"Content-Type": page.kind, "ETag": page.etag, **page.headers}.items():
            if value is not None:
                self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
        if page.length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: page.cuts.pop(0)] if page.cuts else body)
        self.close_connection = True

    def log_message(self, *_):
        pass


def archive(text="pixels", name="set/images/a.png", padding=200_000):
    """A zip whose bytes do not compress, so that it can be cut anywhere."""
    file = io.BytesIO()
    noise = hashlib.shake_256(text.encode()).digest(padding)
    with zipfile.ZipFile(file, "w") as bundle:
        bundle.writestr(zipfile.ZipInfo(name), text.encode() + noise)
    return file.getvalue()


def about_of(downloads, title="Tiny set", steps=()):
    return About(
        title=title,
        modality="OCT",
        summary="made up",
        counts={"all": 1},
        classes=("lesion",),
        mask_values="0 and 255",
        labels={},
        groups=None,
        licence="CC0",
        citation="nobody",
        home="https://example.org/tiny",
        layout="set/images/",
        downloads=downloads,
        steps=steps,
    )


@contextmanager
def serving():
    """A server that answers while the block runs."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
