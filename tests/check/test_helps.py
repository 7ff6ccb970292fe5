"""The next step that a finding offers is the one that mends it."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

HEAD = """
component f(q: text) -> text = python("m:f")
component ok(q: text) -> bool = python("m:ok")
component kind(q: text) -> "none" | "one" | "many" = python("m:kind")
component answer(question: text, passages: [passage]) -> text = python("m:answer")
component search(q: text) -> [passage] = python("m:search")
"""

HELPS = {
    "a label that an arm before has taken": (
        'k = kind(q)\nif k == "none" { return q } elif k == "none" { return q }\nreturn q',
        "the tests before have taken it: delete this one, or compare with another label",
    ),
    "a label that the block has left no room for": (
        'k = kind(q)\nif k == "none" {\nif k == "many" { return q }\n}\nreturn q',
        "the tests before have taken it: delete this one, or compare with another label",
    ),
    "a label with a slip": ('if kind(q) == "mani" { return q }\nreturn q', 'did you mean "many"?'),
    "a share that is no percentage": ("if ok(q) ~ 1.1 { return q }\nreturn q", "write a number such as `~ 0.3`"),
    "a share in percent": ("if ok(q) ~ 30 { return q }\nreturn q", "write `~ 0.3`"),
    "one percent, or the whole": ("if ok(q) ~ 1.5 { return q }\nreturn q", "write a number such as `~ 0.3`"),
    "a fallback for a port": ('x = q else "x"\nreturn x', "delete `else`"),
    "a fallback for an item": ("xs = each x in [q]: x else q\nreturn f(q) else q", "delete `else`"),
    "a fallback for what is bound elsewhere": ("x = f(q)\ny = x else q\nreturn y", "write it where `x` is bound"),
    "a time for a port": ("return q within 1 s", "delete `within`"),
    "a function as a value": ("x = count\nreturn q", "call it: `count(…)`"),
    "a message where its text is wanted": ("return f(m)", "take a part of it: `m.text`"),
    "a passage where its text is wanted": ("return f(p)", "take a part of it: `p.text`"),
    "swapped arguments": (
        "return answer(search(q), q)",
        "swap the values of `question` and `passages`: each fits the other",
    ),
}


@pytest.mark.parametrize("what", HELPS)
def test_a_finding_offers(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body, help = HELPS[what]
    Path("a.rag").write_text(HEAD + f"pipeline p(q: text, m: message, p: passage) -> text {{\n{body}\n}}\n")
    found = [item for item in check_files([Path("a.rag")]).found if item.code not in ("W0202", "W0203")]
    assert found[0].help == help
