"""Fetching: from a folder, an address or nowhere; damaged, forged and hostile files."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import os
import pickle
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from tqdm import tqdm

from radgal.data.base import read_batch
from radgal.files import archives
from radgal.files.archives import Archive, extract, fetch, read_files, without_writing
from utils import UserError

CONTENTS = {"data_batch_1": b"one" * 100, "test_batch": b"two" * 100}


def make_tar(path, members=None, extra=()):
    """Writes a tar.gz of ``folder/name`` files and ready-made members; returns the Archive that it is."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (members or {f"folder/{n}": c for n, c in CONTENTS.items()}).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    content = path.read_bytes()
    return Archive(
        name="toy.tar.gz",
        size=len(content),
        md5=hashlib.md5(content).hexdigest(),
        sha256=hashlib.sha256(content).hexdigest(),
        urls=("https://secure.example/toy.tar.gz", "http://published.example/toy.tar.gz"),
        folder="folder",
        files={name: hashlib.md5(content).hexdigest() for name, content in CONTENTS.items()},
    )


@pytest.fixture
def source(tmp_path):
    """A folder with the archive in it, and the Archive."""
    (tmp_path / "source").mkdir()
    return tmp_path / "source", make_tar(tmp_path / "source" / "toy.tar.gz")


@pytest.fixture
def no_network(monkeypatch):
    """Makes every address unreachable; returns the list of those that were asked."""
    asked = []

    def refuse(request, timeout):
        asked.append(request.full_url)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return asked


@pytest.fixture
def serve(monkeypatch):
    """Returns a function that serves a folder on 127.0.0.1 and returns its address and the paths asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(folder):
        asked = []

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *args):
                asked.append(self.path)

        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def left_over(root):
    return [path.name for path in root.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize("nested", [False, True])
def test_a_mirror_folder_needs_no_network(tmp_path, source, no_network, nested):
    folder, archive = source
    mirror = folder.parent if nested else folder
    assert read_files(archive, CONTENTS, tmp_path / "data", mirror=mirror) == list(CONTENTS.values())
    assert sorted(os.listdir(tmp_path / "data")) == ["folder"], "the mirror's archive is not copied"
    assert no_network == [] and left_over(tmp_path) == []


def test_the_archive_lying_in_the_data_folder_is_used(source, no_network):
    folder, archive = source
    assert read_files(archive, ["test_batch"], folder, download=True) == [CONTENTS["test_batch"]]
    assert no_network == []


def test_nothing_is_written_for_a_run_that_is_only_read(tmp_path, source, no_network):
    folder, archive = source
    with without_writing():
        contents = read_files(archive, CONTENTS, tmp_path / "data", mirror=folder)
    assert contents == list(CONTENTS.values()) and not (tmp_path / "data").exists()
    read_files(archive, CONTENTS, tmp_path / "data", mirror=folder)
    assert (tmp_path / "data").exists()


def test_extracted_files_are_used_as_they_are(tmp_path, source, no_network):
    _, archive = source
    (tmp_path / "data/folder").mkdir(parents=True)
    (tmp_path / "data/folder/test_batch").write_bytes(CONTENTS["test_batch"])
    assert read_files(archive, ["test_batch"], tmp_path / "data") == [CONTENTS["test_batch"]]


@pytest.mark.parametrize("where", ["data/folder", "data", "data/a/b/c/folder", "data/F", "mirror", "mirror/x/folder"])
def test_files_that_lie_unpacked_anywhere_are_used_and_nothing_is_written(tmp_path, source, no_network, where):
    _, archive = source
    data = tmp_path / "data"
    (tmp_path / where).mkdir(parents=True)
    data.mkdir(exist_ok=True)
    decoy = tmp_path / "data" / "0" / "folder"  # of another data set: the same names, other files
    decoy.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (tmp_path / where / name).write_bytes(content)
        (decoy / name).write_bytes(b"of another version")
    before = sorted(tmp_path.rglob("*"))
    assert read_files(archive, CONTENTS, data, download=True, mirror=tmp_path / "mirror") == list(CONTENTS.values())
    assert no_network == [] and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["renamed.bin", "a/b/toy (1).tar.gz", "a/b/c/toy.tar.gz", "toy.tar", "a/toy.tar.gz"])
def test_a_renamed_or_unpacked_archive_is_known_by_its_checksums(tmp_path, source, no_network, name):
    folder, archive = source
    for place in ("data", "mirror"):
        path = tmp_path / place / name
        path.parent.mkdir(parents=True)
        content = (folder / "toy.tar.gz").read_bytes()
        path.write_bytes(gzip.decompress(content) if name in ("toy.tar", "a/toy.tar.gz") else content)
        roots = (tmp_path / "data", None) if place == "data" else (tmp_path / "empty", tmp_path / "mirror")
        assert read_files(archive, CONTENTS, roots[0], download=True, mirror=roots[1]) == list(CONTENTS.values())
    assert fetch(archive, tmp_path / "none", mirror=path) == path and no_network == []
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    with pytest.raises(UserError, match="could not be had"):
        fetch(archive, tmp_path / "none", mirror=tmp_path / "mirror")


def test_a_data_folder_that_cannot_be_written_is_told_and_read_all_the_same(tmp_path, source, caplog):
    folder, archive = source
    (tmp_path / "data").write_text("no folder")
    assert read_files(archive, CONTENTS, tmp_path / "data", mirror=folder) == list(CONTENTS.values())
    assert "cannot write" in caplog.text and "unpacked anew each time" in caplog.text


def test_a_damaged_extracted_file_is_taken_again(tmp_path, source, caplog):
    folder, archive = source
    read_files(archive, CONTENTS, tmp_path / "data", mirror=folder)
    kept = os.stat(tmp_path / "data/folder/data_batch_1").st_mtime_ns
    (tmp_path / "data/folder/test_batch").write_bytes(b"torn")
    assert read_files(archive, ["test_batch"], tmp_path / "data", mirror=folder) == [CONTENTS["test_batch"]]
    assert "test_batch is damaged" in caplog.text
    assert os.stat(tmp_path / "data/folder/data_batch_1").st_mtime_ns == kept, "a good file is left alone"


def test_nothing_reachable_gives_one_message_with_all_that_helps(tmp_path, source, no_network):
    _, archive = source
    with pytest.raises(UserError) as error:
        read_files(archive, CONTENTS, tmp_path / "data", download=True, mirror=tmp_path / "absent")
    text = str(error.value)
    for part in (*archive.urls, "no route to host", str(tmp_path / "absent"), archive.md5, archive.name):
        assert part in text
    assert str(tmp_path / "data") in text and "configs/config_first_lenet.txt" in text
    assert no_network == list(archive.urls), "https is asked first"
    assert list((tmp_path / "data").iterdir()) == []


def test_download_false_asks_no_address(tmp_path, source, no_network):
    with pytest.raises(UserError, match="download is False"):
        fetch(source[1], tmp_path / "data", download=False, mirror="http://127.0.0.1:9")
    assert no_network == []


def test_a_mirror_address_is_asked_first(tmp_path, source, serve):
    folder, archive = source
    address, asked = serve(folder)
    path = fetch(archive, tmp_path / "data", download=True, mirror=address)
    assert path.read_bytes() == (folder / "toy.tar.gz").read_bytes()
    assert len(asked) == 1 and left_over(tmp_path) == []


def test_a_notebook_shows_a_bar_and_a_pipe_none(tmp_path, source, serve, monkeypatch):
    folder, archive = source
    address, _ = serve(folder)
    made = []
    monkeypatch.setattr("tqdm.auto.tqdm", lambda **options: made.append(options["unit"]) or tqdm(disable=True))
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    fetch(archive, tmp_path / "data", download=True, mirror=address)
    assert made == []
    monkeypatch.setitem(sys.modules, "ipykernel", archives)
    fetch(archive, tmp_path / "again", download=True, mirror=address)
    assert made == ["B"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer", "absent"])
def test_a_bad_download_is_never_left_in_place(tmp_path, source, serve, damage):
    folder, archive = source
    good = (folder / "toy.tar.gz").read_bytes()
    bad = {"truncated": good[:-5], "flipped": good[:-1] + b"\xff", "longer": good + b"x", "absent": None}
    (tmp_path / "bad").mkdir()
    if bad[damage] is not None:
        (tmp_path / "bad/toy.tar.gz").write_bytes(bad[damage])
    archive = replace(archive, urls=(serve(tmp_path / "bad")[0] + "/toy.tar.gz",))
    said = {"truncated": "incomplete", "flipped": "damaged", "longer": "more than", "absent": "404"}
    with pytest.raises(UserError, match=said[damage]):
        fetch(archive, tmp_path / "data", download=True)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_connection_that_breaks_moves_on_to_the_next_address(tmp_path, source, serve, monkeypatch):
    folder, archive = source
    address, _ = serve(folder)
    archive = replace(archive, urls=("https://breaks.example/toy.tar.gz", f"{address}/toy.tar.gz"))
    real = urllib.request.urlopen

    class Breaking(io.BytesIO):
        def read(self, size):
            if self.tell():
                raise ConnectionResetError("connection reset by peer")
            return super().read(10)

    def urlopen(request, timeout):
        if "breaks" in request.full_url:
            return Breaking(b"x" * 100)
        return real(request, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert fetch(archive, tmp_path / "data", download=True).stat().st_size == archive.size
    assert left_over(tmp_path) == []


def test_a_damaged_archive_is_replaced_in_data_and_kept_in_a_mirror(tmp_path, source, serve, caplog):
    folder, archive = source
    archive = replace(archive, urls=(serve(folder)[0] + "/toy.tar.gz",))
    for place in ("data", "mirror"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "toy.tar.gz").write_bytes(b"half")
    with pytest.raises(UserError, match="incomplete or another file"):
        fetch(archive, tmp_path / "data", download=False, mirror=tmp_path / "mirror")
    path = fetch(archive, tmp_path / "data", download=True, mirror=tmp_path / "mirror")
    assert path == tmp_path / "data/toy.tar.gz" and path.stat().st_size == archive.size
    assert (tmp_path / "mirror/toy.tar.gz").read_bytes() == b"half"
    assert "toy.tar.gz is not used: incomplete" in caplog.text


def test_a_forged_md5_does_not_pass(tmp_path, source):
    folder, archive = source
    with pytest.raises(UserError, match="sha256"):
        fetch(replace(archive, sha256="0" * 64), tmp_path, mirror=folder)


def test_a_full_or_read_only_disk_is_said_not_mistaken_for_the_network(tmp_path, source, no_network):
    (tmp_path / "data").write_text("a file where the data folder should be")
    with pytest.raises(UserError, match="cannot write"):
        fetch(source[1], tmp_path / "data", download=True)


def test_two_at_once_both_succeed(tmp_path, source):
    folder, archive = source
    results, start = [], threading.Barrier(4)

    def work():
        start.wait()
        results.append(read_files(archive, CONTENTS, tmp_path / "data", mirror=folder))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(CONTENTS.values())] * 4
    assert left_over(tmp_path) == []


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "parent": special("folder/../../evil", tarfile.REGTYPE),
    "absolute": special("/tmp/evil", tarfile.REGTYPE),
    "backslash": special("..\\evil", tarfile.REGTYPE),
    "drive": special("C:evil", tarfile.REGTYPE),
    "symlink": special("folder/data_batch_1", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": special("folder/data_batch_1", tarfile.LNKTYPE, "/etc/passwd"),
    "device": special("folder/null", tarfile.CHRTYPE),
    "pipe": special("folder/pipe", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members_are_refused_before_anything_is_written(tmp_path, kind):
    archive = make_tar(tmp_path / "toy.tar.gz", extra=[HOSTILE[kind]])
    with pytest.raises(UserError, match="refused: .*(leaves the folder|neither a plain file)"):
        extract(tmp_path / "toy.tar.gz", archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_bombs_are_refused(tmp_path, monkeypatch):
    archive = make_tar(tmp_path / "ratio.tar.gz", {"folder/data_batch_1": bytes(10 << 20)})
    with pytest.raises(UserError, match="unpacks to more than"):
        extract(tmp_path / "ratio.tar.gz", archive, tmp_path / "data")
    archive = make_tar(tmp_path / "many.tar.gz", extra=[special(f"d{i}", tarfile.DIRTYPE) for i in range(50)])
    monkeypatch.setattr(archives, "MAX_MEMBERS", 40)
    with pytest.raises(UserError, match="more than 40 members"):
        extract(tmp_path / "many.tar.gz", archive, tmp_path / "data")
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(UserError, match="more than 1,000 bytes"):
        extract(tmp_path / "many.tar.gz", archive, tmp_path / "data")


@pytest.mark.parametrize("damage", ["truncated", "no gzip", "no tar", "lacks a file", "changed file"])
def test_damaged_archives_are_refused(tmp_path, damage):
    path = tmp_path / "toy.tar.gz"
    archive = make_tar(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "no gzip":
        path.write_bytes(b"<html>not found</html>")
    elif damage == "no tar":
        path.write_bytes(gzip.compress(b"no tar" * 200))
    elif damage == "lacks a file":
        make_tar(path, {"folder/data_batch_1": CONTENTS["data_batch_1"]})
    else:
        make_tar(path, {"folder/data_batch_1": b"changed", "folder/test_batch": CONTENTS["test_batch"]})
    with pytest.raises(UserError, match="toy.tar.gz (cannot be unpacked|is refused)"):
        extract(path, archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def make_batch(**changes):
    batch = {
        "data": [np.full((4, 4), i, dtype=np.uint8) for i in range(3)],
        "labels": [0, 1, 1],
        "filenames": ["./a/x.png", np.str_("y\u03b1.png"), "z.png"],
    }
    return {**batch, **changes}


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_batch_written_by_the_installed_numpy_is_read(protocol):
    images, labels, names = read_batch(pickle.dumps(make_batch(), protocol=protocol), "b", 4, 2)
    assert images.dtype == np.uint8 and images[:, 1, 2].tolist() == [0, 1, 2]
    assert labels.tolist() == [0, 1, 1] and labels.dtype == np.int64
    assert names == ["./a/x.png", "y\u03b1.png", "z.png"]


class Runs:
    """Pickles to a call of ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("kind", ["command", "eval", "inside", "object dtype", "import by dots"])
def test_hostile_pickles_run_nothing(tmp_path, kind):
    mark = tmp_path / "ran"
    content = {
        "command": lambda: pickle.dumps(Runs(os.system, f"touch {mark}")),
        "eval": lambda: pickle.dumps(Runs(eval, f"open({str(mark)!r}, 'w')")),
        "inside": lambda: pickle.dumps(make_batch(data=[Runs(os.system, f"touch {mark}")] * 3)),
        "object dtype": lambda: pickle.dumps(make_batch(data=[np.array([Runs(os.mkdir, str(mark))])] * 3)),
        "import by dots": lambda: b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
    }[kind]()
    with pytest.raises(UserError, match="not a batch of images: it asks for "):
        read_batch(content, "b", 4, 2)
    assert not mark.exists()


WRONG = {
    "not a dict": [1, 2],
    "key missing": {"data": [], "labels": []},
    "empty": make_batch(data=[], labels=[], filenames=[]),
    "unequal lengths": make_batch(labels=[0, 1]),
    "label out of range": make_batch(labels=[0, 1, 2]),
    "negative label": make_batch(labels=[0, 1, -1]),
    "label is text": make_batch(labels=[0, 1, "1"]),
    "label no integer": make_batch(labels=[0, 1, 0.5]),
    "name no text": make_batch(filenames=["a", "b", 3]),
    "wrong shape": make_batch(data=[np.zeros((4, 5), np.uint8)] * 3),
    "wrong dtype": make_batch(data=[np.zeros((4, 4), np.float32)] * 3),
    "signed pixels": make_batch(data=[np.zeros((4, 4), np.int8)] * 3),
    "no arrays": make_batch(data=[[0] * 16] * 3),
    "fortran order": make_batch(data=[np.asfortranarray(np.arange(16, dtype=np.uint8).reshape(4, 4))] * 3),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_structures_are_refused(kind):
    with pytest.raises(UserError, match="b is not a batch of images"):
        read_batch(pickle.dumps(WRONG[kind], protocol=3), "b", 4, 2)


def test_every_truncation_of_a_batch_is_refused():
    content = pickle.dumps(make_batch(), protocol=3)
    for end in range(0, len(content), 7):
        with pytest.raises(UserError):
            read_batch(content[:end], "b", 4, 2)
