"""Who may ask the local page, what it answers, and how two windows share the work."""

from __future__ import annotations

import csv
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("bottle", reason="label needs: pip install bottle")

from radgal.images.finding import find_images
from radgal.labeling.answers import opened
from radgal.labeling.orders import Order
from radgal.labeling.server import make
from radgal.labeling.session import Session
from tests.labeling.tools import CLASSES, Window, rows_of, save_images


@contextmanager
def serving(images: Path, table: Path, classes=CLASSES):
    paths = find_images(images)
    with opened(table) as answers:
        server, address = make(Session(paths, answers, classes, "me", Order("random", len(paths))))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Window(address)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def window(tmp_path):
    with serving(save_images(tmp_path / "images"), tmp_path / "labels.csv") as window:
        yield window


def test_only_the_page_itself_is_answered(window, tmp_path) -> None:
    status, page, headers = window.get()
    assert status == 200 and b"label.js" in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and headers["Referrer-Policy"] == "no-referrer"
    assert window.get("image/0/sqrt.png")[1][:4] == b"\x89PNG"
    wrong = Window(window.origin + "/" + "x" * 32 + "/")
    for path in ("", "image/0/sqrt.png", "label.js"):
        assert wrong.get(path)[0] == 404
    assert Window(window.origin + "/").get()[0] == 404
    assert window.get("", Host="evil.example:80")[0] == 404  # a name that was made to point to this machine
    for path in ("image/99/sqrt.png", "image/0/cubic.png", "labels.csv", "../labels.csv", "image/../../labels.csv"):
        status, content, _ = window.get(path)
        assert status == 404 and b"path,label" not in content
    before = (tmp_path / "labels.csv").read_bytes()
    said = dict(row=0, label="FRI", seen=0)
    foreign = ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Content-Type": "text/plain"})
    for headers in foreign:
        assert window.ask("answer", headers, **said)[0] == 403
    assert window.get("answer")[0] == 405
    for odd in ({"row": 99}, {"row": -1}, {"label": 5}, {"seen": "0"}, {"row": None}):
        assert window.ask("answer", **(said | odd))[0] == 400
    assert window.ask("answer", **said, more="x" * 5000)[0] == 400
    assert window.ask("answer", **(said | {"label": "FRIII"}))[0] == 422
    assert (tmp_path / "labels.csv").read_bytes() == before


def test_each_answer_is_on_disk_before_the_next_image_comes(window, tmp_path) -> None:
    view, seen = window.ask("start")[1]["view"], []
    for label in ("FRI", "FRII", ""):
        seen.append(view["name"])
        view = window.answer(view, label)
        last = rows_of(tmp_path / "labels.csv")[-1]
        assert (last["label"], last["labeler"], last["order"]) == (label, "me", "random")
        assert last["path"] == f"images/{seen[-1]}.npy"
    back = window.ask("look", row=view["row"], step=-1)[1]["view"]
    assert back["name"] == seen[2] and back["label"] == ""
    back = window.ask("look", row=back["row"], step=-1)[1]["view"]
    assert (back["name"], back["label"]) == (seen[1], "FRII")
    assert window.answer(back, "FRI")["name"] == view["name"]  # the one that was open is shown again
    status, content = window.ask("undo")
    assert content["view"]["name"] == seen[1] and content["view"]["label"] == "FRII"
    assert content["progress"]["classes"] == {"FRI": 1, "FRII": 1} and content["progress"]["unsure"] == 1
    for name in (seen[2], seen[1], seen[0]):
        assert window.ask("undo")[1]["view"]["name"] == name
    assert window.ask("undo")[1] == {"view": None, "progress": content["progress"] | zero(content["progress"])}
    assert len(rows_of(tmp_path / "labels.csv")) == 8  # a line for all that was ever pressed


def zero(progress: dict) -> dict:
    return {"done": 0, "unsure": 0, "classes": dict.fromkeys(progress["classes"], 0)}


def test_two_windows_get_other_images_and_do_not_overwrite_each_other(window, tmp_path) -> None:
    other = Window(window.address, "other")
    one, two = window.ask("start")[1]["view"], other.ask("start")[1]["view"]
    assert one["row"] != two["row"]
    assert window.ask("start")[1]["view"]["row"] == one["row"]  # reloaded, it shows the same
    window.answer(one, "FRI")
    status, content = other.ask("answer", row=one["row"], label="FRII", seen=0)
    assert status == 409 and content["view"]["label"] == "FRI" and "another window" in content["message"]
    two_next = other.answer(two, "FRII")
    assert other.ask("undo")[1]["view"]["row"] == two["row"]  # its own last answer, not the other's
    assert two_next["row"] != one["row"]
    assert {row["label"] for row in rows_of(tmp_path / "labels.csv") if row["path"] == f"images/{one['name']}.npy"} == {
        "FRI"
    }


def test_many_windows_at_once_answer_each_image_once(tmp_path) -> None:
    table = tmp_path / "labels.csv"
    with serving(save_images(tmp_path / "images", 12), table) as first:

        def work(name: str) -> None:
            own = Window(first.address, name)
            view = own.ask("start")[1]["view"]
            while view:
                status, content = own.ask("answer", row=view["row"], label="FRI", seen=view["line"])
                view = content["view"] if status == 200 else own.ask("next")[1]["view"]

        threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(row["path"] for row in rows_of(table)) == sorted(f"images/s{i}.npy" for i in range(12))


def test_what_earlier_sessions_answered_is_not_asked_again_and_can_be_undone(tmp_path) -> None:
    images, table = save_images(tmp_path / "images", 3), tmp_path / "labels.csv"
    with serving(images, table) as window:
        first = window.ask("start")[1]["view"]
        window.answer(first, "FRI")
    with serving(images, table, ("FRI", "FRII", "<b>odd</b>")) as window:
        begun = window.ask("start")[1]
        assert begun["view"]["name"] != first["name"] and begun["progress"]["done"] == 1
        assert window.ask("undo")[1]["view"]["name"] == first["name"]
        assert window.ask("undo")[1]["view"] is None


@pytest.mark.parametrize(("side", "field"), [(300, 150), (150, None)])
def test_the_window_is_told_which_part_a_network_reads(tmp_path, side: int, field: int | None) -> None:
    with serving(save_images(tmp_path / "images", 1, side=side), tmp_path / "labels.csv") as window:
        view = window.ask("start")[1]["view"]
    assert (view["width"], view["height"], view["field"]) == (side, side, field)


def test_a_file_that_cannot_be_read_can_only_be_passed_over(tmp_path) -> None:
    images = save_images(tmp_path / "images", 1)
    (images / "s0.npy").write_bytes(b"no image")
    with serving(images, tmp_path / "labels.csv") as window:
        view = window.ask("start")[1]["view"]
        assert "cannot be read" in view["error"] and window.get("image/0/sqrt.png")[0] == 422
        assert window.ask("answer", row=0, label="FRI", seen=0)[0] == 422
        assert window.answer(view, "") is None
    with (tmp_path / "labels.csv").open(newline="") as stream:
        assert [row["answer"] for row in csv.DictReader(stream)] == ["unsure"]
