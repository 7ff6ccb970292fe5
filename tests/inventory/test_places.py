"""Lines of TOML values, against a document in which each number is one more than its line."""

import tomllib
from typing import Any

from harmonia_compiler.contract.toml_places import Path, places

DOCUMENT = '''# a comment with [brackets] = and "quotes"
top = "1: no [table] here"   # [[nor]] here

a.b = 5
"quoted key" = 6
text = """
[[not.a.table]]
key = 1
"""
list = [ 11, # one
  12, [12, 12],

  {x = 14},
]
[[hosts]]
name = 17
gpus = [{type = 18}, {type = 18}]
[hosts.labels]
zone = 20
[[hosts]]
name = 22
[[hosts.gpus]]
type = 24
[[hosts.gpus]]
type = 26 # end'''


def values(document: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    items = document.items() if isinstance(document, dict) else enumerate(document)
    found: list[tuple[Path, Any]] = []
    for key, value in items:
        found += values(value, (*path, key)) if isinstance(value, dict | list) else [((*path, key), value)]
    return found


def test_values_are_where_they_say() -> None:
    found = places(DOCUMENT)
    stated = {"top": 2, "a": 4, "quoted key": 5, "text": 6}
    for path, value in values(tomllib.loads(DOCUMENT)):
        line = stated.get(str(path[0]), value - 1 if isinstance(value, int) else 0)
        assert found.line(*path) == line, path


def test_tables_are_where_their_headers_are() -> None:
    found = places(DOCUMENT)
    assert [found.line("hosts", 0), found.line("hosts", 1), found.line("hosts", 1, "gpus", 1)] == [15, 20, 24]
    assert found.line("hosts", 0, "labels") == 18
    assert found.line("nothing", "at", "all") == 1
