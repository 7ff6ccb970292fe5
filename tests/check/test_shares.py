"""What is said when two shares are given for one condition: with the number that the user wrote."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

APPLICATION = """
component grade(q: text) -> "a" | "b" | "c" = python("m:grade")
component flag(q: text) -> bool = python("m:flag")
pipeline p(q: text) -> text {
    yes = flag(q)
    BODY
    return q
}
"""


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ('if yes ~ 0.2 { return "flagged" }', "here it is 0.2"),
        (
            'if grade(q) == "a" ~ 0.2 { return "x" } elif yes ~ 0.2 { return "flagged" }',
            "here it is 0.2, and so 0.25 of the requests that are asked",
        ),
    ],
)
def test_the_first_share_is_quoted_as_written(body: str, note: str, tmp_path: Path) -> None:
    path = tmp_path / "p.rag"
    body = f"{body}\n    if yes ~ 0.3 {{ return q }}"
    path.write_text(APPLICATION.replace("BODY", body), encoding="utf-8")
    (found,) = check_files([path]).found
    assert (found.code, [each.text for each in found.notes]) == ("W0501", [note])
