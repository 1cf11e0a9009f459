"""What the tests of labeling share: images, the command in a process of its own, and a window that asks by hand."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from tests.conftest import ROOT

CLASSES = ("FRI", "FRII")


def save_images(folder: Path, n: int = 6, side: int = 40) -> Path:
    """n images with two bright lobes, as NPY of pixels."""
    folder.mkdir()
    for i in range(n):
        image = np.zeros((side, side), dtype=np.uint8)
        image[10 + i : 14 + i, 8:14], image[25:30, 20 : 26 + i] = 120 + i, 255 - i
        np.save(folder / f"s{i}.npy", image)
    return folder


def rows_of(table: Path) -> list[dict]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def start(images: Path, table: Path, *words: str) -> tuple[subprocess.Popen, str]:
    """The command in a process, and the address that it prints."""
    command = [sys.executable, str(ROOT / "main.py"), "label", str(images), "--table", str(table), "--no-browser"]
    command += ["--classes", *CLASSES, "--labeler", "me", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"http://\S+", line):
            return process, found[0]
    raise AssertionError(said)


class Window:
    """A window of a browser, by hand: asks as the page does, or as another page would."""

    def __init__(self, address: str, name: str = "w"):
        self.address, self.name = address, name
        self.origin = address.rpartition("/")[0].rpartition("/")[0]

    def get(self, path: str = "", **headers: str) -> tuple[int, bytes, dict]:
        return self._send(urllib.request.Request(self.address + path, headers=headers))

    def ask(self, action: str, headers: dict | None = None, **said) -> tuple[int, dict]:
        headers = {"Content-Type": "application/json", "Origin": self.origin} | (headers or {})
        body = json.dumps({"window": self.name, **said}).encode()
        status, content, _ = self._send(urllib.request.Request(self.address + action, body, headers))
        return status, json.loads(content) if content[:1] == b"{" else {"message": content.decode()}

    def answer(self, view: dict, label: str) -> dict:
        status, content = self.ask("answer", row=view["row"], label=label, seen=view["line"])
        assert status == 200, content
        return content["view"]

    @staticmethod
    def _send(request) -> tuple[int, bytes, dict]:
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read(), dict(reply.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)
