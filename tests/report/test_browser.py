"""The page in a browser: its size, its colors, its keys, and nothing that files hold is run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.report.tools import HOSTILE, report, rewrite, with_ten_classes

pytestmark = pytest.mark.slow  # the browser alone takes ten seconds of a processor


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


WINDOWS = [("light", 1400), ("light", 400), ("dark", 1400), ("dark", 400)]
in_two_windows = pytest.mark.parametrize("opened", [WINDOWS[0], WINDOWS[3]], ids=str, indirect=True)


@pytest.fixture(params=WINDOWS, ids=str)
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


@in_two_windows
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


@in_two_windows
def test_in_a_browser_a_source_of_the_rotation_test_shows_its_figure(opened, run: Path) -> None:
    page, *_ = opened
    slot = page.locator("dialog:has(.figure-copy)").first
    if slot.count() == 0:
        pytest.skip("none of the rotated sources is in the gallery of this run")
    page.locator(f"button[data-dialog={slot.get_attribute('id')}]").first.click()
    assert page.locator("dialog[open] .figure-copy img").evaluate("(image) => image.naturalWidth") > 300


@in_two_windows
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
