"""A server on this machine that drops connections, refuses and sends what was not asked for, on demand."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["FileServer", "serving"]


class FileServer:
    """Serves one file and remembers what it was asked for.

    Attributes:
        content: the file.
        ranges: whether it honours Range.
        cuts: for each request to come, how many bytes it sends before it drops the connection.
        statuses: for each request to come, an error that it answers with.
        slices: for each request to come of a range, how much of it is sent; the standard allows less.
        elsewhere: for each request to come, by how much the range that it sends is beside the one that was asked for.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.ranges = content, True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.slices: list[int] = []
        self.elsewhere: list[int] = []
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        total, first = len(self.content), 0
        if wanted and self.ranges:
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            first += self.elsewhere.pop(0) if self.elsewhere else 0
            request.send_response(206 if first < total else 416)
            request.send_header(
                "Content-Range", f"bytes {first}-{total - 1}/{total}" if first < total else f"bytes */{total}"
            )
        else:
            request.send_response(200)
        rest = self.content[first:]
        if wanted and self.slices:
            rest = rest[: self.slices.pop(0)]
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest[: self.cuts.pop(0)] if self.cuts else rest)


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """Serve a file."""
    server = FileServer(content)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()
