"""`web_search`: finds pages of the web through a SearXNG that somebody runs.

SearXNG asks many search engines and answers with JSON, where its administrator allows that format. What
it says about a page, its title and an excerpt, is the passage; the page itself is not fetched.
"""

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.launch import Reply, Wire
from harmonia_compiler.contract.types import ListOf, Passage, Text, Value
from harmonia_compiler.kinds.http import SERVICE_SETTINGS, key_headers
from harmonia_compiler.kinds.kind import NOTHING, Extent, Kind, Setting, Signature, Work, value_of
from harmonia_compiler.kinds.openai import checked, read

SETTINGS = (
    *SERVICE_SETTINGS,
    Setting("top_k", "integer", "how many pages to find", scope="call", default=5, minimum=1, maximum=100),
    Setting(
        "takes",
        "duration",
        "how long a search takes; a guess that measuring corrects",
        scope="component",
        default=1000,
        minimum=0,
    ),
)

#: Tokens of a title and an excerpt, of which search engines show about two lines.
_USUAL_EXCERPT = 60.0


class _Page(msgspec.Struct):
    url: str | None = None
    title: str | None = None
    content: str | None = None
    score: float | None = None


class _Found(msgspec.Struct):
    results: list[_Page]


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """Time, and no hardware of ours."""
    return Work(elsewhere_ms=float(value_of("takes", component.settings, SETTINGS)))


def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
    """`top_k` excerpts."""
    items = float(component.size or value_of("top_k", component.settings, SETTINGS))
    return Extent(items * (component.item_size or _USUAL_EXCERPT), items)


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """The search as a GET of the service's URL; what that has of a query already stays."""
    url = urlsplit(str(engine.settings["url"]))
    asked = urlencode({"q": inputs["query"], "format": "json"})
    query = f"{url.query}&{asked}" if url.query else asked
    headers = (("accept", "application/json"), *key_headers(engine))
    return Wire(urlunsplit(url._replace(query=query, fragment="")), b"", "GET", headers)


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """The best pages, each with its address as the source; pages of which nothing is said are left out."""
    pages = read(body, _Found, "a SearXNG result").results
    passages = [
        {"text": text, "source": page.url, "score": 1.0 / rank if page.score is None else page.score}
        for rank, page in enumerate(pages, start=1)
        if page.url and (text := _text(page))
    ]
    kept = passages[: value_of("top_k", component.settings, SETTINGS)]
    return Reply(checked(kept, ListOf(Passage()), "the search result"))


def _text(page: _Page) -> str:
    return "\n".join(part.strip() for part in (page.title, page.content) if part and part.strip())


KIND = Kind(
    name="web_search",
    doc="Finds pages of the web through a SearXNG that somebody runs, with their titles and excerpts.",
    settings=SETTINGS,
    unnamed="url",
    signature=Signature((Port("query", Text()),), ListOf(Passage())),
    transport="http",
    runs_on=(),
    work=work,
    result_extent=result_extent,
    launch=None,
    encode=encode,
    decode=decode,
    external=True,
    example='component web = web_search(env("SEARCH_URL"), key: secret("SEARCH_KEY"), top_k: 4)',
)
