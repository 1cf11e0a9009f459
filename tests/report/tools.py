"""What the tests of the report share: a page taken apart, and a run's files changed."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

import main
from radgal.evaluation.gallery import read_gallery

HOSTILE = "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=alert(1)>&\u202e" + "long" * 60


class Page(HTMLParser):
    """What the tests ask of a page: tags that are closed, ids, links, scripts, tables, numbers."""

    VOID = {"meta", "link", "img", "br", "wbr"}

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
    """Returns the page after what must hold for every one: well-formed, self-contained, small, accessible.

    A page may link to others that lie beside it.
    """
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
                is_beside = tag == "a" and "/" not in attrs[key] and (path.parent / attrs[key]).is_file()
                assert attrs[key].startswith(("data:", "#")) or is_beside, (tag, attrs[key])
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


def with_few_images(folder: Path) -> Path:
    """Returns the folder of a run, left two images of single sources: making those takes the most time of a page."""
    images = read_gallery(folder / "gallery.npz")
    names = list(images)[:2]
    with (folder / "gallery.npz").open("wb") as stream:
        np.savez_compressed(stream, names=np.array(names), images=np.stack([images[name] for name in names]))
    return folder


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
