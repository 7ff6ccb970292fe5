"""The parser's tables: made from `grammar/rag.lark`, and kept beside it so that a command starts quickly.

Making them takes longer than a whole `check` may. `grammar/tables.json` holds them with the grammar and the version
of lark that they were made from, and is believed only while both are the same. To renew it after a change of the
grammar: `python -m harmonia_compiler.syntax.tables`.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef


def grammar_folder() -> Path:
    """Where the grammar is: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).parent.parent
    shipped = package / "_grammar"
    return shipped if shipped.is_dir() else package.parent / "grammar"


@cache
def parser() -> lark.Lark:
    """The parser of a whole file, from the kept tables where they are current."""
    grammar = (grammar_folder() / "rag.lark").read_text(encoding="utf-8")
    try:
        kept = json.loads((grammar_folder() / "tables.json").read_bytes())
    except (OSError, ValueError):
        return from_grammar(grammar)
    if kept["lark"] != lark.__version__ or kept["grammar"] != grammar:
        return from_grammar(grammar)
    return _from_tables(kept["data"], kept["memo"])


def from_grammar(grammar: str, *, strict: bool = False) -> lark.Lark:
    """The parser made anew; strict refuses every conflict, and needs lark's optional `interegular`."""
    return lark.Lark(grammar, start="file", parser="lalr", lexer="basic", propagate_positions=True, strict=strict)


def encode(grammar: str) -> bytes:
    """The document that `tables.json` holds."""
    data, memo = from_grammar(grammar).memo_serialize([TerminalDef, Rule])
    document = {"lark": lark.__version__, "grammar": grammar, "data": data, "memo": memo}
    return json.dumps(document, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{value!r} cannot be kept in the parser's tables")


def _from_tables(data: dict[str, Any], memo: dict[str, Any]) -> lark.Lark:
    """JSON has made texts of the numbers that are keys."""
    table = data["parser"]["parser"]
    table["tokens"] = {int(number): token for number, token in table["tokens"].items()}
    table["states"] = {int(number): _by_number(actions) for number, actions in table["states"].items()}
    loaded: lark.Lark = lark.Lark._load_from_dict(data, _by_number(memo))  # type: ignore[no-untyped-call]  # noqa: SLF001 - what lark.tools.standalone calls
    return loaded


def _by_number(table: dict[str, Any]) -> dict[int, Any]:
    return {int(number): value for number, value in table.items()}


if __name__ == "__main__":
    (grammar_folder() / "tables.json").write_bytes(
        encode((grammar_folder() / "rag.lark").read_text(encoding="utf-8")),
    )
