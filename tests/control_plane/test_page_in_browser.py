"""The page in a headless Chromium: what is bad is on the first screen, in any light, at any width.

With the environment variable PAGE_PICTURES set to a folder, the pictures of the documentation are
written there (`make page-pictures`).
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from tests.control_plane.page_door import DEAD, LAGGARDS, REASON, LargeFleet, large_fleet, suspicion
from tests.support.browser import Browser, Tab, needs_chromium, start_browser

PHONE = (390, 844)
DESK = (1280, 800)
CONTRAST = 4.5
"""Of text of this size, at least: WCAG 2.1, 1.4.3."""
RECTANGLES = """
[...document.querySelectorAll("#behind tbody tr")].map((row) => {
  const place = row.getBoundingClientRect();
  return {id: row.querySelector("a").textContent, text: row.innerText, top: place.top,
    bottom: place.bottom, left: place.left, right: place.right};
})
"""
CONTRASTS = """
(() => {
  const light = (color) => {
    const parts = color.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("main *")]
    .filter((one) => [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((one) => {
      const front = light(getComputedStyle(one).color);
      const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
      return [Math.round(ratio * 100) / 100, one.outerHTML.slice(0, 80)];
    })
    .sort((a, b) => a[0] - b[0])[0];
})()
"""

pytestmark = [
    needs_chromium,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LargeFleet]:
    """1,000 computes with 3 laggards, and a dead node; only looked at."""
    async with large_fleet(tmp_path_factory.mktemp("fleet")) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def small(tmp_path: Path) -> AsyncIterator[LargeFleet]:
    """The same with 60 computes, for a test that changes something."""
    async with large_fleet(tmp_path, 60) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser."""
    async with start_browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    """A page of its own."""
    async with browser.tab() as one:
        yield one


async def picture(tab: Tab, name: str) -> None:
    """Keep a picture, if pictures are wanted."""
    if wanted := os.environ.get("PAGE_PICTURES"):
        shot = await tab.picture()
        await asyncio.to_thread((Path(wanted) / name).write_bytes, shot)


async def test_trouble_is_on_the_first_screen(fleet: LargeFleet, tab: Tab) -> None:
    """All laggards with their reason, and that a node is down; nothing is wider than the window."""
    for width, height in (PHONE, DESK):
        for dark in (False, True):
            await tab.show(fleet.page, width=width, height=height, dark=dark)
            rows: list[dict[str, Any]] = await tab.run(RECTANGLES)
            told = f"{width} px, dark: {dark}"

            assert set(LAGGARDS) == {row["id"] for row in rows}, told
            for row in rows:
                assert 0 <= row["left"] < row["right"] <= width, told
                assert 0 < row["top"] < row["bottom"] <= height, told
            assert REASON in "".join(row["text"] for row in rows)
            nodes = await tab.run('document.querySelector(".counts .bad a[href=\\"#nodes\\"]")'
                                  ".getBoundingClientRect().bottom")  # fmt: skip
            assert 0 < nodes <= height, told
            assert width >= await tab.run("document.documentElement.scrollWidth"), told
            assert [] == tab.complaints()
            await picture(tab, f"page-{width}-{'dark' if dark else 'light'}.png")


async def test_the_dead_node_is_the_first_of_the_nodes(fleet: LargeFleet, tab: Tab) -> None:
    """On the first screen of a desk, with who suspects it and the verdict."""
    await tab.show(fleet.page, width=DESK[0], height=DESK[1])

    first = await tab.run('document.querySelector("#nodes tbody tr").innerText')
    bottom = await tab.run(
        'document.querySelector("#nodes tbody tr").getBoundingClientRect().bottom'
    )

    assert first.startswith(f"{DEAD} ")
    assert "Offline" in first
    assert "dead: 8 computes" in first
    assert "acted" in first
    assert bottom <= DESK[1]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_text_can_be_read(fleet: LargeFleet, tab: Tab, dark: bool) -> None:
    """Each text contrasts with what is behind it, on both pages, and the pages differ by light."""
    for path in ("/", f"/computes/{LAGGARDS[2]}"):
        await tab.show(fleet.page + path, width=DESK[0], height=DESK[1], dark=dark)
        back = await tab.run("getComputedStyle(document.body).backgroundColor")
        least, where = await tab.run(CONTRASTS)

        assert ("rgb(18, 20, 23)" if dark else "rgb(255, 255, 255)") == back
        assert least >= CONTRAST, where


async def test_a_compute_has_its_page(fleet: LargeFleet, tab: Tab) -> None:
    """Reached by a click; it fits on a phone."""
    await tab.show(fleet.page, width=DESK[0], height=DESK[1])
    await tab.run(f"[...document.links].find((a) => a.textContent === '{LAGGARDS[2]}').click()")
    await tab.until("the page to be there", f"location.pathname === '/computes/{LAGGARDS[2]}'")
    await tab.until("its content", "document.querySelector('#suspicions') !== null")
    await picture(tab, "compute-1280-light.png")

    await tab.show(f"{fleet.page}/computes/{LAGGARDS[2]}", width=PHONE[0], height=PHONE[1])

    assert PHONE[0] >= await tab.run("document.documentElement.scrollWidth")
    assert "could not connect to server" in await tab.run("document.body.innerText")
    assert [] == tab.complaints()


async def test_the_page_follows_what_happens(small: LargeFleet, tab: Tab) -> None:
    """Without a reload: place, focus and what is typed stay."""
    await tab.show(small.page, width=DESK[0], height=500)
    await tab.run("document.querySelector('[href=\"/?condition=silent\"]').focus()")
    await tab.run("scrollTo(0, 300); window.mark = 1; document.forms[0].q.value = 'shop'")

    small.says("mail-us-8", behind=1, outcome="rejected", reason="a new trouble")

    await tab.until("it to be shown", "document.body.innerText.includes('a new trouble')")
    assert [300, 1, "shop", "/?condition=silent"] == await tab.run(
        "[scrollY, window.mark, document.forms[0].q.value,"
        " document.activeElement.getAttribute('href')]"
    )
    assert (await tab.run("document.title")).startswith("4 behind")
    assert await tab.run("document.getElementById('stale').hidden")


async def test_a_page_that_cannot_refresh_says_so(small: LargeFleet, tab: Tab) -> None:
    """What it shows is old then, and it must not look as if it were not."""
    await tab.show(small.page, width=DESK[0], height=DESK[1])

    await small.door.server.stop(0.1)

    await tab.until("the warning", "!document.getElementById('stale').hidden")
    assert "not refreshed" in await tab.run("document.getElementById('stale').innerText")


async def test_the_page_works_without_scripts(fleet: LargeFleet, tab: Tab) -> None:
    """It has everything, and loads itself again."""
    await tab.send("Emulation.setScriptExecutionDisabled", value=True)
    await tab.show(fleet.page, width=DESK[0], height=DESK[1])

    found = await tab.send("DOM.getDocument")
    selector = "noscript meta[http-equiv=refresh]"
    refresh = await tab.send("DOM.querySelector", nodeId=found["root"]["nodeId"], selector=selector)
    rows = await tab.send(
        "DOM.querySelectorAll", nodeId=found["root"]["nodeId"], selector="#behind tbody tr"
    )

    assert refresh["nodeId"]
    assert 3 == len(rows["nodeIds"])


async def test_a_search_leads_to_its_computes(fleet: LargeFleet, tab: Tab) -> None:
    """By the keyboard, without a script of ours."""
    await tab.show(fleet.page, width=PHONE[0], height=PHONE[1])
    await tab.run("document.forms[0].q.value = 'mail-us-8'; document.forms[0].submit()")
    await tab.until("the search", "location.search === '?q=mail-us-8'")

    await tab.until("what was found", "document.querySelector('#computes tbody tr') !== null")

    found = await tab.run(
        "[...document.querySelectorAll('#computes tbody tr a')].map((a) => a.textContent)"
    )
    assert "mail-us-8" in found
    assert all("mail-us-8" in name for name in found)


async def test_what_a_compute_says_cannot_run(small: LargeFleet, tab: Tab) -> None:
    """A report is text from a stranger."""
    attack = "<img src=x onerror='window.attacked=1'><script>window.attacked=1</script>"
    small.says("mail-us-8", behind=1, outcome="rejected", reason=attack)

    for path in ("/", "/computes/mail-us-8", "/?q=%3Cscript%3Ewindow.attacked=1%3C/script%3E"):
        await tab.show(small.page + path, width=DESK[0], height=DESK[1])
        assert await tab.run("window.attacked === undefined")
        assert [] == tab.complaints()
    await tab.show(f"{small.page}/computes/mail-us-8", width=DESK[0], height=DESK[1])
    assert attack in await tab.run("document.body.innerText")


@pytest.mark.parametrize("width", [PHONE[0], DESK[0]])
async def test_what_a_compute_says_cannot_break_the_layout(
    small: LargeFleet, tab: Tab, width: int
) -> None:
    """Long words end at the edge of the window."""
    long = "x" * 2000
    trouble = replace(suspicion(), source=long, endpoint=long, trouble=long, text=long)
    small.says("mail-us-8", trouble, behind=1, outcome="rejected", reason=long)

    for path in ("/", "/computes/mail-us-8", f"/?q={long}"):
        await tab.show(small.page + path, width=width, height=DESK[1])
        assert width >= await tab.run("document.documentElement.scrollWidth"), path[:20]
