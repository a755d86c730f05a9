"""Reading members of archives: by exact name, into memory, and never from an archive that tries to leave."""

import stat
import tarfile
import zipfile

import pytest
from toy_index import tarball, wheel

from kerasllm.data import ArchiveError
from kerasllm.data.archives import read_members


@pytest.fixture(params=["zip", "tar.gz"])
def write(request, tmp_path):
    def write(members):
        path = tmp_path / f"an archive é.{request.param}"
        path.write_bytes(wheel(members) if request.param == "zip" else tarball(members))
        return path

    return write


def test_members_are_read_by_exact_name(write):
    path = write({"a/one.txt": b"1", "a/one.txt.bak": b"no", "b/名.txt": "名".encode()})
    assert read_members(path, ["b/名.txt", "a/one.txt"]) == {"a/one.txt": b"1", "b/名.txt": "名".encode()}
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name]  # nothing was extracted


def test_a_missing_member_is_named(write):
    with pytest.raises(ArchiveError, match=r"does not hold 'a/two\.txt'"):
        read_members(write({"a/one.txt": b"1"}), ["a/one.txt", "a/two.txt"])


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", "C:\\out", "c:/out", "..\\out", "\\\\host\\out"])
def test_an_archive_that_tries_to_leave_the_folder_is_refused(name, write):
    with pytest.raises(ArchiveError, match="refused"):
        read_members(write({name: b"evil", "good.txt": b"1"}), ["good.txt"])


@pytest.mark.parametrize("name", ["a..b/c", "..a", "a/b..", "ab:c"])
def test_names_that_only_look_dangerous_are_read(name, write):
    assert read_members(write({name: b"1"}), [name]) == {name: b"1"}


def test_links_are_refused(tmp_path):
    info = zipfile.ZipInfo("data.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    info = tarfile.TarInfo("data.txt")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    for name in ("a.zip", "a.tar"):
        with pytest.raises(ArchiveError, match=r"'data\.txt' is a link"):
            read_members(tmp_path / name, ["data.txt"])


def test_a_truncated_archive_is_named(write):
    path = write({"a.txt": bytes(range(256)) * 1000})
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(ArchiveError, match=r"cannot be read .*Delete it"):
        read_members(path, ["a.txt"])


def test_a_changed_byte_is_seen(tmp_path):
    content = bytearray(wheel({"a.txt": b"some text" * 100}))
    content[content.index(b"some text")] ^= 1
    (tmp_path / "a.whl").write_bytes(content)
    with pytest.raises(ArchiveError, match="CRC"):
        read_members(tmp_path / "a.whl", ["a.txt"])


def test_a_web_page_in_place_of_an_archive_is_named(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(ArchiveError, match="cannot be read"):
        read_members(tmp_path / "a.whl", ["a.txt"])
