"""The labeling page in a browser: its keys, a reload, a kill and a restart, a narrow window, contrast."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest.importorskip("bottle", reason="label needs: pip install bottle")

from tests.labeling.contrast import CONTRAST
from tests.labeling.tools import rows_of, save_images, start
from tests.report.test_browser import browser  # noqa: F401

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path):
    """(images, table), and a list of processes that end with the test."""
    processes = []
    yield save_images(tmp_path / "images"), tmp_path / "labels.csv", processes
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def opened(browser, place, *words: str, width: int = 1400, scheme: str = "light"):  # noqa: F811
    images, table, processes = place
    process, address = start(images, table, *words)
    processes.append(process)
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(address)
    wait(page, 1)
    return page


def wait(page, n: int) -> None:
    """Until the page has done n things, of which opening is the first."""
    page.wait_for_selector(f'body[data-ready="{n}"]', state="attached")


def press(page, *keys: str) -> None:
    for key in keys:
        n = int(page.evaluate("document.body.dataset.ready"))
        page.keyboard.press(key)
        wait(page, n + 1)


def name(page) -> str:
    return page.locator("h1").inner_text()


def answers(place) -> list[tuple[str, str]]:
    return [(Path(row["path"]).stem, row["label"]) for row in rows_of(place[1])]


def test_keys_answer_undo_look_back_and_stretch(browser, place) -> None:  # noqa: F811
    page = opened(browser, place)
    seen = [name(page)]
    for key in "120":
        press(page, key)
        seen.append(name(page))
    assert answers(place) == list(zip(seen[:3], ("FRI", "FRII", ""), strict=True)) and len(set(seen)) == 4
    assert page.locator("#progress").inner_text() == "3 of 6 answered"
    press(page, "u")
    assert name(page) == seen[2] and page.locator("#progress").inner_text() == "2 of 6 answered"
    press(page, "ArrowLeft", "ArrowLeft")
    assert name(page) == seen[0]
    assert page.locator("#answers [aria-pressed=true]").inner_text().endswith("FRI")
    press(page, "2", "ArrowLeft", "ArrowRight")
    assert name(page) == seen[2] and answers(place)[-1] == (seen[0], "FRII")
    before = page.locator("#image").get_attribute("src")
    press(page, "s")
    assert before.endswith("/sqrt.png") and page.locator("#image").get_attribute("src").endswith("/log.png")
    page.keyboard.press("+")
    assert page.locator("#image").bounding_box()["width"] > 1.9 * page.locator("#viewport").bounding_box()["width"]
    page.keyboard.press("9")  # there is no ninth class
    assert len(answers(place)) == 5 and page.problems == []
    press(page, "1", "1", "1", "1")
    assert name(page) == "All images are answered" and page.problems == []


def test_what_a_network_reads_is_framed_and_fills_the_view_until_all_is_asked_for(browser, tmp_path) -> None:  # noqa: F811
    place = save_images(tmp_path / "images", side=300), tmp_path / "labels.csv", []
    try:
        page = opened(browser, place)
        shares = []
        for key in (None, "f", "f", "-"):
            if key:
                page.keyboard.press(key)
            boxes = [page.locator(name).bounding_box()["width"] for name in ("#frame", "#picture", "#viewport")]
            shares.append((round(boxes[0] / boxes[1], 2), round(boxes[1] / boxes[2], 1)))
        assert shares == [(0.5, 1.7), (0.5, 1.0), (0.5, 1.7), (0.5, 1.0)]
        press(page, "1")
        assert page.locator("#frame").is_visible() and page.problems == []
    finally:
        for process in place[2]:
            process.kill()
            process.wait()
            process.stdout.close()


def test_a_reload_in_the_middle_and_a_kill_lose_nothing(browser, place) -> None:  # noqa: F811
    page = opened(browser, place)
    first = name(page)
    press(page, "1")
    shown = name(page)
    page.reload()
    wait(page, 1)
    assert name(page) == shown
    press(page, "2")
    place[2][0].send_signal(signal.SIGKILL)
    place[2][0].wait()
    press(page, "1")
    assert "Not saved" in page.locator("#state").inner_text()
    assert answers(place) == [(first, "FRI"), (shown, "FRII")]
    again = opened(browser, place)
    assert again.locator("#progress").inner_text() == "2 of 6 answered" and name(again) not in (first, shown)
    press(again, "u")
    assert name(again) == shown
    press(again, "1")
    assert answers(place)[-1] == (shown, "FRI")


def test_with_the_keyboard_alone_every_button_is_reached_and_seen(browser, place) -> None:  # noqa: F811
    page = opened(browser, place)
    seen = name(page)
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        text = page.evaluate("document.activeElement.innerText || document.activeElement.id")
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", text
            reached.append(" ".join(text.split()))
        if "1 FRI" in reached[-1:]:
            break
    assert reached[0] == "viewport"
    press(page, "Enter")
    assert answers(place) == [(seen, "FRI")]


@pytest.mark.parametrize(("scheme", "width"), [("light", 400), ("dark", 400), ("light", 1400), ("dark", 800)])
def test_it_fits_reads_well_and_can_be_touched(browser, place, scheme: str, width: int) -> None:  # noqa: F811
    page = opened(browser, place, "--run", "fr-d4", width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("#opinion").inner_text().count("%") == 2
    page.locator("#answers button").nth(1).click()
    wait(page, 2)
    assert answers(place)[0][1] == "FRII"
    heights = page.evaluate("[...document.querySelectorAll('button')].map((one) => one.getBoundingClientRect().height)")
    assert min(heights) >= 44
    assert page.evaluate(CONTRAST) == [] and page.problems == []
