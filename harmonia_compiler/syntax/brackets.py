"""The brackets of a text while its tokens are put out: which stand open, and which the text lacks.

A bracket that is never closed is closed where the text proves it: at the next declaration, at a line that begins as a
statement does, at an `until`, or at a `}` that stands under another line. So one slip stays one finding.
"""

from dataclasses import dataclass, field

from lark import Token

from harmonia_compiler.syntax.ahead import CLOSER_OF, CLOSERS, SIGN_OF, renamed, virtual
from harmonia_compiler.syntax.lexer import Lexer, Mark, place

#: A line that begins with one of these goes on with the one before.
CONTINUING = frozenset({"PLUS", "EQUAL", "COMPARISON", "AT_MOST", "TILDE", "VBAR", "_ARROW", "DOT", "COMMA", "COLON"})
CONTINUING |= {"ELSE", "ELIF", "OR", "AND", "LPAR", "LSQB", "LBRACE", "RPAR", "RSQB", "UNTIL", "WITHIN", "WHERE"}
#: What goes on with a statement, and the headers of the blocks that it goes on from.
GOES_ON = {"UNTIL": ("REPEAT",), "ELIF": ("IF", "ELIF"), "ELSE": ("IF", "ELIF")}


@dataclass(slots=True)
class Header:
    """The keyword of a block's header, with the indentation of its line."""

    token: Token
    indent: int


@dataclass(slots=True)
class Open:
    """An open bracket with the indentation of its line; a block's with the keyword of its header.

    A pipeline is `flat` whose first line stands no deeper than its header: how deep its lines stand tells nothing.
    """

    token: Token
    indent: int
    header: str = ""
    flat: bool = False


@dataclass(slots=True)
class Brackets:
    """The tokens that are put out, and the brackets among them.

    `stack` holds the open ones, `header` a block's header without its `{`, `indent` that of the statement at hand.
    `lacking` counts the `}` that the declaration at hand lacks: only then does indentation tell anything. Below 0
    it has that many too many, and so lacks `{`.
    """

    lexer: Lexer
    tokens: list[Token] = field(default_factory=list)
    stack: list[Open] = field(default_factory=list)
    header: Header | None = None
    indent: int = 0
    lacking: int = 0

    @property
    def before(self) -> str:
        """The kind of the last token."""
        return self.tokens[-1].type if self.tokens else ""

    def inside(self, opener: str) -> bool:
        """Whether the innermost open bracket is one of these."""
        return bool(self.stack) and self.stack[-1].token.type == opener

    def open(self, token: Token) -> None:
        """An opening bracket: a `{` behind another one is too many, where `}` are lacking."""
        if token.type == self.before == "LBRACE" and self.lacking > 0:
            self.lexer.report("E0101", "expected a statement, found `{`", *place(token), "delete it")
            self.lacking -= 1
            return
        header = self.header if token.type == "LBRACE" else None
        self.stack.append(Open(token, self.indent, header.token.type if header else ""))
        self.header = None if token.type == "LBRACE" else self.header
        self.tokens.append(token)

    def open_missing(self, mark: Mark) -> None:
        """A header that is followed by a statement's line lacks its `{`, where that line stands in a block."""
        header = self.header
        if header is None or mark.token.type in ("ELIF", "ELSE", "UNTIL") or not self.tokens:
            return
        if self.before in CONTINUING - CLOSERS or (mark.indent <= header.indent and self.lacking >= 0):
            return
        end = place(self.tokens[-1])[1]
        what = "the pipeline" if header.token.type == "PIPELINE" else f"`{header.token}`"
        message = f"expected `{{` to open the block of {what}"
        self.lexer.report("E0101", message, end, end, "put `{` at the end of this line")
        self.open(virtual("LBRACE", end))
        self.lacking += 1

    def close(self, token: Token) -> None:
        """A closing bracket: closes its own, or proves which one is missing."""
        if (
            token.type == "RBRACE"
            and self.lacking < 0
            and self.inside("LBRACE")
            and self.stack[-1].indent < self.indent
        ):
            self.lacking += 1
            self.report_needless(token)
            return
        openers = [opened.token.type for opened in self.stack]
        wanted = next(opener for opener, closer in CLOSER_OF.items() if closer == token.type)
        if token.type == "RBRACE" and wanted in openers:
            self.close_down_to("LBRACE")
        elif openers and openers[-1] != wanted:
            innermost = openers[len(openers) - openers[::-1].index("LBRACE") :] if "LBRACE" in openers else openers
            if wanted in innermost:
                self.close_down_to(wanted)
            elif innermost:
                self.report_unclosed(self.stack[-1].token, f", but `{token}` follows")
                token = renamed(CLOSER_OF[openers[-1]], token)
        if not self.stack or CLOSER_OF[self.stack[-1].token.type] != token.type:
            self.report_needless(token)
            return
        opened = self.stack.pop().token
        if token.type == "RBRACE":
            self.header = None
            if self.lacking < 0 and not self.stack:
                # One of those before was too many, and a part of the pipeline stands behind this one.
                self.lexer.damage.guessed.append(place(opened)[0])
        self.tokens.append(token)

    def close_by_indent(self, mark: Mark) -> None:
        """Where `}` are lacking, a line that stands no deeper than a block's header is outside of the block."""
        kind = mark.token.type
        while self.lacking > 0 and self.inside("LBRACE") and not self.stack[0].flat:
            indent = self.stack[-1].indent
            if indent < mark.indent or (indent == mark.indent and (kind == "RBRACE" or kind in CONTINUING)):
                return
            self.close_missing()

    def close_by_word(self, kind: str) -> None:
        """Where `}` are lacking, an `until`, `elif` or `else` in the block that it goes on from is outside of it."""
        if self.before == "RBRACE" or self.lacking <= 0:
            return
        blocks = [depth for depth, opened in enumerate(self.stack) if opened.header in GOES_ON[kind]]
        while blocks and len(self.stack) > blocks[-1]:
            self.close_missing()

    def close_down_to(self, opener: str) -> None:
        """Close what stands open inside of the innermost of these."""
        while self.stack and self.stack[-1].token.type != opener:
            self.close_missing()

    def close_all(self) -> None:
        """Close whatever stands open."""
        while self.stack:
            self.close_missing()

    def close_missing(self) -> None:
        """Close the innermost bracket for the user, and say so."""
        last = self.stack.pop()
        opened = last.token
        self.lacking -= opened.type == "LBRACE"
        if opened.type == "LBRACE" and (last.header != "PIPELINE" or last.flat):
            self.lexer.damage.guessed.append(place(opened)[0])
        end = place(self.tokens[-1])[1]
        self.tokens.append(virtual(CLOSER_OF[opened.type], end))
        if not self.is_damaged(opened):
            self.report_unclosed(opened)

    def report_needless(self, token: Token) -> None:
        """Report a closing bracket that has none to close."""
        start, end = place(token)
        self.lexer.damage.unbalanced.append(start)
        if not self.lexer.damage.holds(self.lexer.source, start):
            self.lexer.report("E0112", f"`{token}` closes nothing", start, end, "delete it, or open the bracket before")

    def report_unclosed(self, opened: Token, but: str = "") -> None:
        """Report an opening bracket that nothing closes."""
        if opened.type != "LBRACE":
            self.lexer.damage.unbalanced.append(place(opened)[0])
        closer = SIGN_OF[CLOSER_OF[opened.type]]
        message = f"`{SIGN_OF[opened.type]}` is never closed{but}"
        self.lexer.report("E0102", message, *place(opened), f"close it with `{closer}`")

    def is_damaged(self, opened: Token) -> bool:
        """Whether a text that is not closed may have swallowed the bracket's partner, or the bracket is our own."""
        start, end = place(opened)
        if any(start < at < place(self.tokens[-1])[1] for at in self.lexer.damage.swallowing):
            return True
        return start == end or self.lexer.damage.holds(self.lexer.source, start)
