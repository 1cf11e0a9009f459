"""The page of a run: made of saved files only, complete in itself, and safe whatever those files hold."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import main
from radgal.evaluation.gallery import N_MISCLASSIFIED, choose_sources, read_gallery, save_gallery
from radgal.report.charts import Axis, make_chart, make_series, thin, ticks
from radgal.report.runviews import epoch_charts
from radgal.report.savedrun import read_run
from radgal.report.sourceviews import sexagesimal
from tests.test_main import CONFIG, read_once  # noqa: F401
from utils import UserError

HOSTILE = "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=alert(1)>&\u202e" + "long" * 60


class Page(HTMLParser):
    """What the tests ask of a page: tags that are closed, ids, links, scripts, tables, numbers."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self, text: str):
        super().__init__()
        self.open, self.problems, self.tags, self.text = [], [], [], ""
        self.feed(text)
        self.problems += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if len({key for key, _ in attrs}) < len(attrs):
            self.problems.append(f"{tag} has an attribute twice")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]

    def values(self) -> set[float]:
        return {float(attrs["value"]) for attrs in self.all("data")}


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def check_page(path: Path) -> Page:
    """Returns the page after what must hold for every one: well-formed, self-contained, small, accessible."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.problems == []
    assert len(text.encode()) < 5_000_000
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.tags:
        assert not any(key.startswith("on") for key in attrs), (tag, attrs)
        for key in ("src", "href", "action", "srcset", "data", "poster"):
            if key in attrs and tag != "data":
                assert attrs[key].startswith(("data:", "#")), (tag, attrs[key])
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in ids, attrs["href"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style
    assert not any("src" in attrs for attrs in page.all("script")) and len(page.all("script")) == 1
    policy = next(attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy and "connect-src" not in policy
    assert all(attrs.get("alt") is not None for attrs in page.all("img"))
    assert all("scope" in attrs for attrs in page.all("th")) and page.all("th")
    assert len(page.all("main")) == len(page.all("h1")) == 1 and page.all("nav")
    return page


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A real run of an epoch, with the tests that can follow it."""
    folder = tmp_path_factory.mktemp("report")
    config = folder / "small.txt"
    config.write_text(CONFIG.format(folder=(folder / "out").as_posix()))
    main.main(["--config", str(config), "--set", "training.epochs=2", "model.quiet=True"])
    out = str(folder / "out")
    main.main(["rotate", out, "--limit", "3", "--mc-samples", "3", "--angles", "0", "90", "90"])
    main.main(["equivariance", out, "--step", "90", "--n-images", "2"])
    main.main(["report", out])
    return folder / "out"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run's saved files without its checkpoints, to be spoiled."""
    return Path(shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("*.pt")))


def rewrite(path: Path, change) -> None:
    """Applies ``change`` to a run's JSON content, or to the rows of its csv."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        path.write_text(json.dumps(change(content) or content))
        return
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = change(rows) or rows
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def report(*runs: Path, out: Path | None = None) -> Path:
    main.main(["report", *map(str, runs), *(["--out", str(out)] if out else [])])
    return out or runs[0] / "report.html"


def test_the_page_of_a_run_has_every_part_and_the_numbers_of_its_files(run: Path) -> None:
    page = check_page(run / "report.html")
    metrics = json.loads((run / "metrics.json").read_text())
    upright = metrics["upright"]
    wanted = {metrics["rotated"]["accuracy"]["mean"], metrics["temperature"]["temperature"]}
    for key in ("accuracy", "error", "roc_auc", "nll", "brier", "ece"):
        wanted |= {
            upright[key]["value"],
            upright[key]["low"],
            upright[key]["high"],
            metrics["mc_dropout"][key]["value"],
        }
    for one in upright["per_class"].values():
        wanted |= {one[key]["value"] for key in ("precision", "recall", "f1")} | {one["n_sources"], one["n_missed"]}
    wanted |= {float(n) for row in upright["confusion"] for n in row}
    wanted |= {n for counts in json.loads((run / "environment.json").read_text())["class_counts"].values()
               for n in counts.values()}  # fmt: skip
    assert {value for value in wanted - {None} if value not in page.values()} == set()
    for part in ("Test result", "Training", "Misclassified", "Most uncertain", "Rotation test", "Equivariance",
                 "Class balance", "Configuration", "Environment", "How to cite", "Griese et al. 2023",
                 "VanillaLeNet", "kept: epoch", "Confusion matrix", "ROC curve", "Reliability"):  # fmt: skip
        assert part in page.text, part
    assert "cannot be read" not in page.text and "left out" not in page.text


def test_the_gallery_shows_the_sources_that_the_table_says(run: Path) -> None:
    page = check_page(run / "report.html")
    with (run / "sources.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    wrong = sum(row["correct"] == "False" for row in rows)
    assert f"{wrong} of {len(rows)} test sources are misclassified" in page.text
    lists = [attrs["data-list"] for attrs in page.all("button") if "data-list" in attrs]
    assert lists.count("r0-Misclassified") == min(wrong, N_MISCLASSIFIED) and lists.count("r0-Most uncertain") == 12
    shown = set(read_gallery(run / "gallery.npz"))
    dialogs = page.all("dialog")
    assert len(dialogs) == len(shown) == len([a for a in page.all("img") if a.get("class") == "large"])
    surest = max(
        (row for row in rows if row["correct"] == "False"), key=lambda row: float(row[f"prob_{row['pred_name']}"])
    )
    assert surest["name"] in shown and surest["name"] in page.text
    assert sexagesimal(float(surest["ra_deg"]), float(surest["dec_deg"])) in page.text


def test_a_rotation_figure_is_in_the_page_once_and_its_source_leads_to_it(run: Path) -> None:
    page = check_page(run / "report.html")
    figures = [attrs for attrs in page.all("img") if attrs.get("alt", "").startswith("Rotation test of")]
    assert len(figures) == 3
    copies = {attrs["data-copy"] for attrs in page.all("div") if attrs.get("class") == "figure-copy"}
    assert copies <= {attrs["id"] for attrs in figures}


def test_texts_of_the_files_cannot_become_markup(copy: Path) -> None:
    def spoil_rows(rows):
        for row in rows[:60]:
            row["name"] = HOSTILE + row["name"]
            for key in ("label_name", "pred_name", "poses", "model"):
                if key in row:
                    row[key] = HOSTILE

    def spoil_classes(metrics):
        metrics |= {"run": HOSTILE, "dataset": HOSTILE, "version": HOSTILE}

    for name in ("sources.csv", "rotation_sources.csv"):
        rewrite(copy / name, spoil_rows)
    for name in ("equivariance.csv", "equivariance_summary.csv"):
        rewrite(copy / name, lambda rows: [row | {"model": HOSTILE} for row in rows])
    rewrite(copy / "metrics.json", spoil_classes)
    rewrite(copy / "environment.json", lambda content: {HOSTILE: HOSTILE, "packages": {HOSTILE: HOSTILE}, **content})
    (copy / "config.txt").write_text(f"[model]\nbase: {HOSTILE!r}\n[data]\ndataset: {HOSTILE!r}\n")
    images = read_gallery(copy / "gallery.npz")
    with (copy / "gallery.npz").open("wb") as stream:
        np.savez(stream, names=np.array([HOSTILE + name for name in images]), images=np.stack(list(images.values())))
    text = report(copy).read_text(encoding="utf-8")
    check_page(copy / "report.html")
    assert text.count("<script") == 1 and "<img src=http" not in text and "\u202e" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.parametrize(
    "gone",
    [
        ["metrics.json", "sources.csv", "gallery.npz"],
        ["gallery.npz", "rotation_figures"],
        ["history.csv", "environment.json"],
        ["rotation_sources.csv", "rotation_poses.csv", "equivariance.csv", "equivariance_summary.csv"],
        ["config.txt", "sources.csv"],
    ],
    ids=lambda gone: gone[0],
)
def test_what_is_missing_is_left_out(copy: Path, gone: list[str]) -> None:
    for name in gone:
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = check_page(report(copy))
    if "metrics.json" in gone:
        assert "main.py evaluate" in page.text and "Confusion" not in page.text and "Training" in page.text
        rewrite(copy / "environment.json", lambda content: {**content, "has_test_set": False})
        assert "These data have no test set" in check_page(report(copy)).text
    if "gallery.npz" in gone and "metrics.json" not in gone:
        assert "no image saved" in page.text and "Misclassified" in page.text
    if "config.txt" in gone:
        assert "unknown network" in page.text


@pytest.mark.parametrize(
    "name, content",
    [
        ("metrics.json", b"{"),
        ("metrics.json", b'{"upright": {"accuracy": 3}}'),
        ("metrics.json", b"[" * 100_000),
        ("history.csv", b"epoch,train_loss\n1,2,3\n"),
        ("history.csv", b"\xff\xfe\x00"),
        ("history.csv", b"a,b\n1,2\n"),
        ("sources.csv", b"name,correct\nx,True\n"),
        ("gallery.npz", b"not a zip"),
        ("environment.json", b'{"class_counts": {"train": 3}}'),
        ("environment.json", b"[]"),
        ("config.txt", b"no section"),
        ("rotation_sources.csv", b"name,overlap_index\nx,y\n"),
        ("equivariance_summary.csv", b"model\nx\n"),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_is_shown(copy: Path, capsys, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    page = check_page(report(copy))
    assert "Not everything could be shown" in page.text and "note: " in capsys.readouterr().out
    assert "How to cite" in page.text and ("Training" in page.text) == (name != "history.csv")


def test_a_gallery_from_elsewhere_runs_nothing_and_fills_no_memory(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    with (tmp_path / "a.npz").open("wb") as stream:
        np.savez(stream, names=np.array([Bomb()], dtype=object), images=np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(ValueError):
        read_gallery(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()
    with (tmp_path / "b.npz").open("wb") as stream:
        np.savez_compressed(stream, names=np.array(["x"]), images=np.zeros((1, 9000, 9000), np.uint8))
    assert (tmp_path / "b.npz").stat().st_size < 200_000
    with pytest.raises(ValueError, match="64 MiB"):
        read_gallery(tmp_path / "b.npz")


def test_images_that_have_no_room_are_left_out_and_it_is_said(copy: Path, monkeypatch) -> None:
    monkeypatch.setattr("radgal.report.page.MAX_IMAGE_BYTES", 300_000)
    noise = np.random.default_rng(0).integers(0, 256, (36, 100, 100), dtype=np.uint8)
    names = list(read_gallery(copy / "gallery.npz"))
    with (copy / "gallery.npz").open("wb") as stream:
        np.savez(stream, names=np.array(names), images=noise[: len(names)])
    page = check_page(report(copy))
    assert "to keep the page under 5 MB" in page.text
    large = sum(attrs.get("class") == "large" for attrs in page.all("img"))
    assert 10 < large < len(names)
    assert sum(len(attrs["src"]) for attrs in page.all("img")) <= 300_000


def with_ten_classes(folder: Path) -> Path:
    """Returns the folder of a run, made one of the ten classes of MiraBest."""
    names = "100 102 104 110 112 200 201 210 300 310".split()

    def more_classes(metrics):
        one = metrics["upright"]["per_class"]["FRI"]
        metrics["upright"]["per_class"] = dict.fromkeys(names, one)
        metrics["upright"]["confusion"] = [[10 * (i == j) for j in range(10)] for i in range(10)]
        metrics["upright"]["roc_auc"] |= {"low": None, "high": None}
        del metrics["rotated"]
        metrics["classes"] = names

    def more_columns(rows):
        for i, row in enumerate(rows):
            row |= {"label": i % 10, "label_name": names[i % 10], "pred_name": names[0]}
            row |= {f"{kind}prob_{name}": 0.1 for kind in ("", "mc_") for name in names}

    rewrite(folder / "metrics.json", more_classes)
    rewrite(folder / "sources.csv", more_columns)
    return folder


def test_ten_classes_are_told_apart(copy: Path) -> None:
    page = check_page(report(with_ten_classes(copy)))
    drawn = [attrs["class"] for attrs in page.all("path") if attrs.get("data-label", "").endswith("as positive")]
    assert len(drawn) == len(set(drawn)) == 10
    assert "the two most probable classes" in page.text
    intervals = page.text.split("Intervals: ")[1].split(". Smaller")[0]
    assert "bootstrap over sources for " in intervals and "negative log-likelihood, Brier score" in intervals
    assert "ROC area" not in intervals  # it has none


def test_epochs_are_whole_numbers(run: Path) -> None:
    for chart in epoch_charts({"": read_run(run)}, 2):
        assert [label for _, label in chart["x_ticks"]] == ["1", "2"]


def test_the_kept_epoch_is_written_above_the_curves() -> None:
    series = [make_series("s", [1, 2, 3], [5.0, 3.0, 5.0])]
    chart = make_chart("t", "a", series, Axis("x"), Axis("y"), mark=(2, "kept"))
    _, top, _, height = map(float, chart["view"].split())
    assert -top > 5 + 0.12 * height


def test_commands_that_are_printed_can_be_pasted(run: Path, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "my run"))
    quick = ["--mc-samples", "2"]
    for words in (
        ["evaluate", folder, "--rotations", "1", *quick],
        ["evaluate", folder, "--rotations", "1", *quick, "--out", tmp_path / "else"],
        ["rotate", folder, "--limit", "1", *quick, "--angles", "0", "0", "1"],
        ["equivariance", folder, "--n-images", "1", "--step", "90"],
    ):
        main.main(list(map(str, words)))
        last = capsys.readouterr().out.splitlines()[-1]
        assert shlex.split(last)[-1] == str(folder), last
    (folder / "metrics.json").unlink()
    text = read(report(folder)).text
    assert f"python main.py evaluate '{folder}'" in text


def test_a_page_of_too_many_runs_says_that_it_is_large(run: Path, copy: Path, tmp_path: Path, monkeypatch, capsys):
    out = tmp_path / "both.html"
    report(run, copy, out=out)
    assert "note: " not in capsys.readouterr().out
    monkeypatch.setattr("radgal.report.page.MAX_PAGE_BYTES", out.stat().st_size - 1000)
    report(run, copy, out=out)
    assert re.search(r"note: \S+both.html is \S+ MB, more than .* MB: give fewer runs", capsys.readouterr().out)


def test_several_runs_stand_side_by_side(run: Path, copy: Path, tmp_path: Path) -> None:
    rewrite(copy / "metrics.json", lambda metrics: {**metrics, "run": HOSTILE})
    page = check_page(report(run, copy, run, out=tmp_path / "both.html"))
    assert "2 runs side by side" in page.text and "were not tested on the same sources" not in page.text
    rewrite(copy / "metrics.json", lambda metrics: {**metrics, "checksum": "md5:another"})
    page = check_page(report(run, copy, out=tmp_path / "both.html"))
    assert "were not tested on the same sources" in page.text
    (copy / "metrics.json").write_text("{")
    page = check_page(report(run, copy, out=tmp_path / "both.html"))
    assert "metrics.json cannot be read" in page.text and "Loss, validation" in page.text


def test_results_of_other_weights_are_told(copy: Path) -> None:
    rewrite(copy / "environment.json", lambda content: {**content, "kept_epoch": 77})
    os.utime(copy / "rotation_sources.csv", (1, 1))
    text = check_page(report(copy)).text
    assert "epoch 77 is kept now: evaluate the run again" in text
    assert "rotation_sources.csv is older than the end of the training" in text


def test_a_new_run_in_the_folder_does_not_inherit_results_of_the_old_one(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(run, out)
    config = tmp_path / "small.txt"
    config.write_text(CONFIG.format(folder=out.as_posix()))
    main.main(["--config", str(config), "--no-test", "--set", "training.epochs=1", "model.quiet=True"])
    page = check_page(out / "report.html")
    assert "Rotation test" not in page.text and "Equivariance" not in page.text and "main.py evaluate" in page.text
    kept = {path.name for path in (out / "earlier.1").iterdir()}
    assert {"report.html", "gallery.npz", "rotation_sources.csv", "rotation_figures", "equivariance.csv"} <= kept
    check_page(report(out / "earlier.1"))


def test_mistakes_are_user_errors(run: Path, tmp_path: Path) -> None:
    precious = tmp_path / "thesis.html"
    precious.write_text("<p>mine</p>")
    for words, message in (
        ([tmp_path / "nowhere"], "there is no run folder"),
        ([tmp_path], "is not the folder of a training run; it holds thesis.html"),
        ([run, "--out", tmp_path], "HTML file"),
        ([run, "--out", run / "best.pt"], "HTML file"),
        ([run, "--out", precious], "not a report of this program"),
    ):
        with pytest.raises(UserError, match=message):
            main.main(["report", *map(str, words)])
    assert precious.read_text() == "<p>mine</p>" and (run / "best.pt").stat().st_size > 1000


def test_a_report_that_cannot_be_made_does_not_lose_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    def refuse(*_):
        raise UserError("no room for a page")

    monkeypatch.setattr("radgal.report.page.write_report", refuse)
    config = tmp_path / "small.txt"
    config.write_text(CONFIG.format(folder=(tmp_path / "out").as_posix()))
    done = main.main(["--config", str(config), "--no-test", "--set", "training.epochs=1"])
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == "the report was not made: no room for a page" and "written to" in said[-1]
    assert (done.folder / "environment.json").is_file()


def test_positions_are_written_as_astronomers_do() -> None:
    assert sexagesimal(162.947, 55.386) == "10h51m47.3s +55°23′10″"
    assert sexagesimal(359.99999, -0.5) == "00h00m00.0s −00°30′00″"


def test_gallery_takes_the_surest_mistakes_and_the_most_uncertain(tmp_path: Path) -> None:
    correct, confidence, entropy = [True, False, False, True], [0.9, 0.6, 0.8, 0.5], [0.1, 0.2, 0.7, 0.3]
    assert choose_sources(correct, confidence, entropy) == ([2, 1], [2, 3, 1, 0])
    table = {"name": list("abcd"), "correct": correct, "predictive_entropy": entropy}
    images = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
    save_gallery(tmp_path, table, np.array(confidence), images)
    assert {name: image.tolist() for name, image in read_gallery(tmp_path / "gallery.npz").items()} == {
        name: image.tolist() for name, image in zip("abcd", images, strict=True)
    }


@pytest.mark.parametrize(
    "low, high, log", [(0, 1, False), (1, 600, False), (-3.2, -3.1, False), (-4, 1, True), (-0.3, 0.2, True)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float, log: bool) -> None:
    found = ticks(low, high, log)
    assert 3 <= len(found) <= 8
    for place, label in found:
        assert low - 1e-9 <= place <= high + 1e-9
        assert math.isclose(float(label), 10**place if log else place, rel_tol=1e-2, abs_tol=1e-12) and len(label) < 8


def test_long_lines_are_thinned_but_keep_their_extremes() -> None:
    values = np.random.default_rng(0).normal(size=20_000).tolist()
    kept = thin(list(enumerate(values)))
    assert len(kept) <= 1200 and kept == sorted(kept)
    assert {min(values), max(values)} <= {y for _, y in kept}
    chart = make_chart("t", "a", [make_series("s", [1, 2, 3], [1.0, None, math.nan])], Axis("x"), Axis("y", log=True))
    assert chart["series"][0]["points"] == [(1, 1.0)]
    assert make_chart("t", "a", [make_series("s", [1], [None])], Axis("x"), Axis("y")) is None


def test_outcome_counts_what_was_trained_on(run: Path) -> None:
    environment = json.loads((run / "environment.json").read_text())
    assert environment["class_counts"] == {"train": {"FRI": 356, "FRII": 699}, "validation": {"FRI": 89, "FRII": 175}}
    assert environment["trainable_parameters"] > 10_000 and environment["kept_epoch"] in (1, 2)


def find_chromium() -> str | None:
    """Returns the installed Chromium or Chrome, None if there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; skips with a reason where it, or the package that drives it, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs: pip install playwright")
    with playwright.sync_playwright() as driver:
        path = find_chromium()
        if path is None and not Path(driver.chromium.executable_path).is_file():
            pytest.skip("the browser test needs Chromium: apt install chromium, or playwright install chromium")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[("light", 1400), ("light", 400), ("dark", 1400), ("dark", 400)], ids=lambda p: f"{p[0]}-{p[1]}")
def opened(request, browser, run: Path):
    """The report in a browser; at the end, nothing may have been said on the console nor asked of a network."""
    scheme, width = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((run / "report.html").as_uri())
    yield page, scheme, width
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    page.close()


def test_in_a_browser_the_page_fits_and_follows_the_color_scheme(opened) -> None:
    page, scheme, width = opened
    assert page.evaluate("document.documentElement.scrollWidth") == width
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert (red < 60) == (scheme == "dark")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_in_a_browser_the_confusion_matrix_of_ten_classes_is_one(copy: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(report(with_ten_classes(copy)).as_uri())
    heights = page.evaluate("[...document.querySelectorAll('.confusion th')].map((th) => th.clientHeight)")
    rows = page.evaluate(
        "[...document.querySelectorAll('.confusion tbody th')].map((th) => th.firstChild)"
        ".map((text) => { const r = new Range(); r.selectNode(text); return r.getClientRects().length; })"
    )
    assert len(heights) == 21 and set(rows) == {1}, "a name is broken over lines"
    box = page.locator(".panel:has(.confusion) .scroll")
    assert box.evaluate("(box) => box.scrollWidth <= box.clientWidth")
    page.close()


def test_in_a_browser_the_printed_page_is_not_cut(run: Path, browser) -> None:
    page = browser.new_page(viewport={"width": 718, "height": 1000}, color_scheme="dark")  # A4 less its margins
    page.goto((run / "report.html").as_uri())
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") == 718
    assert (
        page.evaluate("[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length")
        == 0
    )
    page.close()


def test_in_a_browser_the_gallery_opens_steps_and_closes(opened) -> None:
    page, *_ = opened
    buttons = page.locator("button.source")
    name = buttons.first.locator(".source-name").inner_text()
    buttons.first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h3").inner_text() == name
    box = dialog.locator("img.large").bounding_box()
    assert box["width"] > buttons.first.bounding_box()["width"]
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog[open]").count() == 1 and dialog.locator("h3").inner_text() != name
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.evaluate("document.activeElement.querySelector('.source-name').innerText") == name


def test_in_a_browser_a_source_of_the_rotation_test_shows_its_figure(opened, run: Path) -> None:
    page, *_ = opened
    slot = page.locator("dialog:has(.figure-copy)").first
    if slot.count() == 0:
        pytest.skip("none of the rotated sources is in the gallery of this run")
    page.locator(f"button[data-dialog={slot.get_attribute('id')}]").first.click()
    assert page.locator("dialog[open] .figure-copy img").evaluate("(image) => image.naturalWidth") > 300


def test_in_a_browser_charts_read_and_zoom_by_mouse_and_keyboard(opened) -> None:
    page, *_ = opened
    plot = page.locator(".plot", has=page.locator(".mark-label")).first
    plot.scroll_into_view_if_needed()
    whole = plot.locator("svg.area").get_attribute("viewBox")
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 20)
    assert "epoch 1" in plot.locator(".tip").inner_text() and "training" in plot.locator(".tip").inner_text()
    plot.focus()
    page.keyboard.press("ArrowRight")
    assert "epoch 2" in plot.locator(".tip").inner_text()
    square = page.locator(".plot.square").first
    square.scroll_into_view_if_needed()
    box, before = square.bounding_box(), square.locator("svg.area").get_attribute("viewBox")
    page.mouse.move(box["x"] + 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40, steps=4)
    page.mouse.up()
    assert square.locator("svg.area").get_attribute("viewBox") != before
    square.focus()
    page.keyboard.press("Escape")
    assert square.locator("svg.area").get_attribute("viewBox") == before
    assert plot.locator("svg.area").get_attribute("viewBox") == whole


def test_in_a_browser_nothing_that_files_hold_is_run(copy: Path, browser) -> None:
    def spoil(rows):
        return [row | {"name": f"<img src=x onerror=\"document.title='hacked'\">{i}"} for i, row in enumerate(rows)]

    rewrite(copy / "sources.csv", spoil)
    rewrite(copy / "equivariance.csv", lambda rows: [row | {"model": HOSTILE} for row in rows])
    rewrite(copy / "environment.json", lambda content: {**content, "dataset": HOSTILE})
    page = browser.new_page(viewport={"width": 400, "height": 900})
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(report(copy).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.locator("button.source").first.click()
    assert page.title() == "small – run report" and said == []
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=https://example.org/x.png>')")
    page.wait_for_timeout(200)
    assert any("Content Security Policy" in text for text in said)
    page.close()
