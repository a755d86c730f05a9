"""Toy archives and a package index on this machine: real pip meets them, without the outer network."""

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kerasllm.data.catalogue import Archive


def wheel(members: dict[str, bytes], package: str = "toywheel") -> bytes:
    """A wheel that pip accepts."""
    info = f"{package}-1.0.dist-info"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


def tarball(members: dict[str, bytes]) -> bytes:
    """A tar.gz with these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sdist(marker) -> bytes:
    """A source archive whose setup code would write the file `marker`."""
    setup = (
        f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='toysource', version='1.0')\n"
    )
    pkg_info = b"Metadata-Version: 1.1\nName: toysource\nVersion: 1.0\n"
    return tarball(
        {"toysource-1.0/setup.py": setup.encode(), "toysource-1.0/PKG-INFO": pkg_info, "toysource-1.0/a.txt": b"real"}
    )


def archive_of(content: bytes, file: str = "toywheel-1.0-py3-none-any.whl", **changes) -> Archive:
    """The catalogue's entry for these bytes."""
    values = {
        "package": file.split("-")[0],
        "version": "1.0",
        "file": file,
        "bytes": len(content),
        "licence": "MIT",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return Archive(**(values | changes))


class Index(ThreadingHTTPServer):
    """An index on this machine. `files` maps a file name to its bytes, or to the bytes of each download in turn."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes | list[bytes]] = {}
        self.downloads: list[str] = []
        self.pause = 0.0  # seconds, before the second half of a file
        self.half_sent, self.go_on = threading.Event(), threading.Event()
        self.stall = self.cut = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        index, name = self.server, self.path.strip("/").split("/")[-1]
        if self.path.startswith("/simple"):
            links = [f'<a href="/files/{file}">{file}</a>' for file in index.files if file.startswith(f"{name}-")]
            self._send("text/html", "".join(links).encode())
            return
        index.downloads.append(name)
        content = index.files[name]
        if isinstance(content, list):
            content = content.pop(0)
        self._send("application/octet-stream", content)

    def _send(self, kind: str, content: bytes):
        index, half = self.server, len(content) // 2
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if kind == "text/html":
            self.wfile.write(content)
            return
        try:
            self.wfile.write(content[:half])
            self.wfile.flush()
            index.half_sent.set()
            if index.cut:
                return
            if index.stall:
                index.go_on.wait(30)
            index.go_on.wait(index.pause)
            self.wfile.write(content[half:])
        except OSError:  # the reader was killed
            pass

    def log_message(self, *args):
        pass
