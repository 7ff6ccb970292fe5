"""A token that cannot stand where it stands, with what stands around it."""

import msgspec

from harmonia_compiler.syntax.ahead import CLOSERS, OPENERS
from harmonia_compiler.syntax.automaton import Slip
from harmonia_compiler.syntax.repair import goes_on_below, region_of
from harmonia_compiler.syntax.token import Token


class Spot(msgspec.Struct, frozen=True):
    """A slip with the tokens around it. Only their kinds and texts matter.

    `earlier` is the kind of the token two before it, `declares` that of the first one of the declaration, `said` are
    those of the statement before it, `compared` is the sign by which something is compared with the value before,
    `unpacks` says whether it follows brackets with which a line begins, `counts` whether it and what follows count
    rounds as other languages do, and `goes_on` whether what lacks at a line's end begins the next one.
    """

    token: Token
    before: Token | None
    after: str
    accepted: frozenset[str]
    earlier: str
    declares: str
    said: frozenset[str]
    compared: str
    unpacks: bool
    counts: bool
    goes_on: bool

    @property
    def kind(self) -> str:
        """The kind of the token."""
        return self.token.kind

    @property
    def behind(self) -> str:
        """The kind of the token before."""
        return self.before.kind if self.before is not None else ""

    @property
    def follows_value(self) -> bool:
        """Whether a value could go on here."""
        return self.accepted >= {"COMPARISON", "AND"}

    @property
    def follows_rate(self) -> bool:
        """Whether a rate stands before."""
        return self.before is not None and self.before.text == "rps"

    @property
    def gives_a_name(self) -> bool:
        """Whether the name before most likely says what the value is for, and is none itself.

        In a pipeline most arguments are names of values, and few settings are anything else than numbers.
        """
        is_setting = self.declares != "PIPELINE" or self.kind in ("NUMBER", "TRUE", "FALSE")
        return is_setting or "COMMA" not in self.accepted

    @property
    def begins_a_block(self) -> bool:
        """Whether this stands for the beginning of a block, here or in another language."""
        return self.kind in ("LBRACE", "_ARROW") or (self.kind, self.after) == ("EQUAL", "COMPARISON")

    @property
    def is_joined(self) -> bool:
        """Whether there is no space before."""
        return self.before is not None and self.before.end == self.token.start

    @property
    def ends(self) -> bool:
        """Whether the line ends here."""
        return self.kind in ("_NL", "$END")


def spot_of(tokens: list[Token], slip: Slip) -> Spot:
    """A slip with the tokens around it."""
    token, accepted = slip.token, slip.accepted
    before = tokens[slip.position - 1] if slip.position else None
    after = tokens[slip.position + 1].kind if slip.position + 1 < len(tokens) else "$END"
    earlier = tokens[slip.position - 2].kind if slip.position > 1 else ""
    begin = region_of(tokens, slip.position).start
    said = frozenset(token.kind for token in tokens[begin : slip.position])
    unpacks = token.kind == "EQUAL" and _begins_its_line(tokens, slip.position - 1)
    declares, compared, goes_on = tokens[0].kind, _compared(tokens, slip.position), goes_on_below(tokens, slip)
    counts = _counts(tokens, slip.position)
    return Spot(token, before, after, accepted, earlier, declares, said, compared, unpacks, counts, goes_on)


def _compared(tokens: list[Token], position: int) -> str:
    """The sign by which something is compared with the one token before a place, perhaps in brackets; else nothing."""
    outside = (token for token in reversed(tokens[: max(position - 1, 0)]) if token.kind != "LPAR")
    sign = next(outside, None)
    return sign.text if sign is not None and sign.kind == "COMPARISON" else ""


def _begins_its_line(tokens: list[Token], closer: int) -> bool:
    """Whether the brackets that end there are what their line begins with."""
    depth = 0
    for token in reversed(tokens[: closer + 1]):
        depth += (token.kind in CLOSERS) - (token.kind in OPENERS)
        if depth <= 0:
            return token.kind in ("LPAR", "LSQB") and token.first
    return False


def _counts(tokens: list[Token], position: int) -> bool:
    """Whether a line begins as a loop of other languages that counts its rounds: `for i in range(3)`."""
    words = tokens[max(position - 1, 0) : position + 4]
    return words[0].first and [word.text for word in (words[0], *words[2:])] == ["for", "in", "range", "("]


def shown(token: Token) -> str:
    """A token in a sentence."""
    if token.kind in ("$END", "_NL"):
        return "the end of the line"
    if token.kind == "TEXT":
        return "a text"
    if token.kind == "LONG_TEXT":
        return 'a text in `"""`'
    text = token.text
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"
