"""What both pages have in common: the frame, its style and its script.

The Content-Security-Policy allows this style and this script by their digests and nothing else, so
that text which slipped through the escaping could do nothing either.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from control_plane.http.html import Content, Markup, join, tag

STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1d21; --quiet: #63686f; --line: #e3e5e8;
  --bad: #b3261e; --bad-back: #fdeceb; --busy: #805300; --good: #1d6b3c; --link: #0b57b8 }
@media (prefers-color-scheme: dark) { :root { --back: #121417; --text: #e4e6e9; --quiet: #969ca5;
  --line: #2a2e33; --bad: #ff8f85; --bad-back: #3a1d1b; --busy: #e6b85c; --good: #7cc795;
  --link: #8ab8f5 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1264px; padding: 0 16px 48px; background: var(--back);
  color: var(--text); font: 14px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums;
  overflow-wrap: break-word }
a { color: inherit; text-decoration-color: var(--quiet); text-underline-offset: 2px }
a:hover { color: var(--link) }
header { display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: center; padding: 12px 0 8px }
h1 { margin: 0; font-size: 16px; flex: 1 1 auto }
h1 a { text-decoration: none }
h2 { margin: 0 0 4px; font-size: 14px }
h2 small, .quiet { color: var(--quiet); font-weight: normal }
input { width: 260px; max-width: 100%; padding: 5px 8px; font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--line); border-radius: 4px }
code { font: 13px/1.4 ui-monospace, monospace }
p { margin: 4px 0 }
#stale, .failure { padding: 6px 10px; background: var(--bad-back); color: var(--bad);
  font-weight: 600 }
.headline { font-size: 16px; margin-top: 8px }
.headline code { font-size: 16px; font-weight: 600 }
.facts { color: var(--quiet); display: flex; flex-wrap: wrap; gap: 0 18px }
.counts { display: flex; flex-wrap: wrap; margin: 10px 0 0; padding: 0; list-style: none;
  border: 1px solid var(--line); border-radius: 4px }
.counts li { flex: 1 1 92px; padding: 6px 12px; color: var(--quiet) }
.counts a { text-decoration: none; display: block }
.counts b { display: block; font-size: 22px; line-height: 1.25; color: var(--text) }
.counts .zero b { color: var(--quiet); font-weight: normal }
.counts .bad, .counts .bad b, .bad { color: var(--bad) }
.counts .busy b, .busy { color: var(--busy) }
td.bad, td.busy, span.bad, span.busy { font-weight: 600 }
.good { color: var(--good) }
section { margin-top: 20px; min-width: 0 }
table { width: 100%; border-collapse: collapse }
th { text-align: left; font-weight: normal; color: var(--quiet); padding: 2px 16px 2px 0 }
td { padding: 4px 16px 4px 0; border-top: 1px solid var(--line); vertical-align: top }
td > code, td > a > code { display: inline-block; max-width: 30ch; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; vertical-align: bottom }
.wide { overflow-wrap: anywhere }
.rest { width: 100% }
a > code { text-decoration: underline; text-decoration-color: var(--quiet) }
.some { min-width: 15em }
td:last-child, th:last-child { padding-right: 0 }
.number { text-align: right; white-space: nowrap }
.short { white-space: nowrap; max-width: 30em; overflow: hidden; text-overflow: ellipsis }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 20px; margin: 0 }
dt { color: var(--quiet) }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere }
@media (min-width: 1000px) { .columns { display: grid; grid-template-columns: 1fr 1fr; gap: 0 40px }
  .columns > * { min-width: 0 } }
@media (max-width: 700px) {
  header { padding-top: 8px }
  form, input { width: 100% }
  .minor { display: none }
  .counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(80px, 1fr)) }
  .counts li { padding: 4px 8px; font-size: 13px; overflow-wrap: normal }
  .counts b { font-size: 19px }
  thead { display: none }
  table, tbody { display: block }
  tr { display: flex; flex-wrap: wrap; gap: 0 12px; padding: 5px 0;
    border-top: 1px solid var(--line) }
  td { border: 0; padding: 0; text-align: left }
  td[data-label] { order: 1 }
  td[data-label]::before { content: attr(data-label) " "; color: var(--quiet); font-weight: normal }
  td.name { flex: 1 1 auto }
  td.rest { width: auto }
  td.some { min-width: 0 }
  td.short { max-width: 100% }
  td.wide { flex: 1 1 100% }
  td:empty { display: none }
}
"""
SCRIPT: Final = """
const stale = document.getElementById("stale");
async function refresh() {
  if (document.hidden || String(getSelection())) return;
  try {
    const signal = AbortSignal.timeout(5000);
    const answer = await fetch(location.href, {cache: "no-store", signal});
    if (!answer.ok) throw new Error("HTTP status " + answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = document.activeElement?.closest("#live a")?.getAttribute("href");
    document.getElementById("live").replaceWith(fresh.getElementById("live"));
    document.title = fresh.title;
    const links = [...document.querySelectorAll("#live a")];
    links.find((a) => a.getAttribute("href") === focused)?.focus({preventScroll: true});
    stale.hidden = true;
  } catch (error) {
    stale.textContent = "not refreshed: " + error.message;
    stale.hidden = false;
  }
}
(function again() { setTimeout(() => refresh().finally(again), 2000); })();
"""
HTML: Final = "text/html; charset=utf-8"
WITHOUT_SCRIPT_S: Final = "10"
"""Seconds between two loads of the page by a browser that runs no script."""


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; form-action 'self'; "
    f"base-uri 'none'; frame-ancestors 'none'; img-src data:; style-src {_digest(STYLE)}; "
    f"script-src {_digest(SCRIPT)}",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer with a page."""


def document(*live: Content, title: str, query: str = "", refreshes: bool = True) -> str:
    """Return a page; *live* is what the script replaces."""
    search = tag(
        "form",
        tag("input", name="q", value=query, placeholder="compute or tenant", aria_label="search",
            type="search", autocomplete="off"),
        action="/", role="search",
    )  # fmt: skip
    reload = tag("meta", http_equiv="refresh", content=WITHOUT_SCRIPT_S)
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(STYLE)),
        tag("noscript", reload) if refreshes else None,
    )
    body = join(
        tag("header", tag("h1", tag("a", "compute control plane", href="/")), search),
        tag("p", id="stale", role="status", hidden=True),
        tag("main", *live, id="live"),
        tag("script", Markup(SCRIPT)) if refreshes else None,
    )
    return "<!doctype html>\n" + tag("html", tag("head", head), tag("body", body), lang="en")
