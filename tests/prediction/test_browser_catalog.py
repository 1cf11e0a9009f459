"""The page of a catalog in a browser: filters, order, pages, one source large, and what is saved."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.labeling.contrast import CONTRAST
from tests.prediction.test_catalogpage import data_of
from tests.prediction.tools import go
from tests.report.test_browser import browser  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture(scope="module")
def page_of_real_cutouts(real_data: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("catalog")
    go("fr-d4", real_data / "fits", "--part-rows", 10, out=folder / "catalog.csv")
    return folder / "catalog.html"


@pytest.fixture(scope="module")
def many(page_of_real_cutouts: Path) -> Path:
    """The same sources 4000 times, as a page with its pictures in a folder."""
    from radgal.prediction.catalogpage import _render

    data = data_of(page_of_real_cutouts)
    folder = page_of_real_cutouts.parent / "many"
    (folder / "many_files").mkdir(parents=True)
    import base64

    (folder / "many_files" / "000000-000.png").write_bytes(base64.b64decode(data["sheets"]["embedded"][0]))
    data["columns"] = {key: (values[:10] * 10_000)[:100_000] for key, values in data["columns"].items()}
    data["sheets"] |= {"embedded": None, "part_rows": 10}
    for i in range(1, 10_000):
        (folder / "many_files" / f"{i:06d}-000.png").symlink_to(folder / "many_files" / "000000-000.png")
    (folder / "many.html").write_text(_render("many.csv", {"about": "", "probabilities": ""}, data), encoding="utf-8")
    return folder / "many.html"


def opened(browser, path: Path, width: int = 1400, scheme: str = "light"):  # noqa: F811
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.problems, page.asked = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: request.url.startswith("http") and page.problems.append(request.url))
    page.goto(path.as_uri())
    return page


def names(page) -> list[str]:
    return page.locator("#grid .source-name").all_inner_texts()


def test_sources_are_filtered_sorted_looked_at_and_saved(browser, page_of_real_cutouts, tmp_path) -> None:  # noqa: F811
    page, data = opened(browser, page_of_real_cutouts), data_of(page_of_real_cutouts)
    assert names(page) == data["columns"]["id"]
    assert page.locator("#grid .learned").count() == data["columns"]["learned"].count(1) > 0
    page.select_option("#f-class", "1")
    page.select_option("#f-order", "unsure")
    page.wait_for_timeout(300)
    rows = [i for i, k in enumerate(data["columns"]["class"]) if k == 1]
    rows.sort(key=lambda i: (-data["columns"]["entropy"][i], i))
    assert names(page) == [data["columns"]["id"][i] for i in rows]
    page.locator("#grid button.source").first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h3").inner_text() == data["columns"]["id"][rows[0]]
    assert "calibrated probability of FRI" in dialog.inner_text() and "raw probability of FRI" in dialog.inner_text()
    shown = f"{data['columns']['c1'][rows[0]]:.2f}"
    assert page.locator("#grid .verdict").first.inner_text() == f"FRII {shown}"
    assert dialog.locator(".scale").inner_text().endswith(("″", "′"))
    assert dialog.locator("a").first.get_attribute("href").startswith("https://aladin")
    page.keyboard.press("ArrowRight")
    assert dialog.locator("h3").inner_text() == data["columns"]["id"][rows[1]]
    page.keyboard.press("Escape")
    page.locator(".pick input").nth(2).check()
    for button, wanted in (("#save", rows), ("#save-picked", rows[2:3])):
        with page.expect_download() as download:
            page.click(button)
        download.value.save_as(tmp_path / "part.csv")
        with (tmp_path / "part.csv").open(newline="", encoding="utf-8") as stream:
            saved = list(csv.DictReader(stream))
        assert [row["id"] for row in saved] == [data["columns"]["id"][i] for i in wanted]
        assert {row["pred_name"] for row in saved} == {"FRII"} and "prob_FRI" in saved[0]
        assert [int(row["in_training"]) for row in saved] == [data["columns"]["learned"][i] for i in wanted]
    page.click("button[type=reset]")
    page.wait_for_timeout(300)
    assert len(names(page)) == len(data["columns"]["id"]) and page.problems == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 400), ("dark", 1400)])
def test_it_fits_and_reads_well(browser, page_of_real_cutouts, scheme: str, width: int) -> None:  # noqa: F811
    page = opened(browser, page_of_real_cutouts, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width and page.evaluate(CONTRAST) == []
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == width and page.problems == []


def test_100_000_rows_stay_usable(browser, many: Path) -> None:  # noqa: F811
    page = opened(browser, many)
    assert len(names(page)) == 60 and page.locator("#count").inner_text() == "100,000 of 100,000 sources"
    assert page.evaluate("document.querySelectorAll('*').length") < 1500
    page.fill("#page", "1667")
    page.keyboard.press("Tab")
    assert len(names(page)) == 40
    page.select_option("#f-order", "unsure")
    page.wait_for_timeout(1500)
    assert len(set(names(page))) == 1  # 10,000 times the least certain
    page.locator("#grid li").last.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    pictures = set(page.asked[1:])  # of the three pages that were shown, or of what was near on them: not of all
    assert all("/many_files/" in url for url in pictures) and 1 < len(pictures) <= 160
    assert page.problems == []
