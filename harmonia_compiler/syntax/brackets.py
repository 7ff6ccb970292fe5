"""The brackets of a text while its tokens are put out: which stand open, and which the text lacks.

A bracket that is never closed is closed where the text proves it: at the next declaration, at a line that begins as a
statement does, at an `until`, or at a `}` that stands under another line. So one slip stays one finding.
"""

import msgspec

from harmonia_compiler.syntax.ahead import CLOSER_OF, CLOSERS, SIGN_OF, renamed, virtual
from harmonia_compiler.syntax.lexer import Lexer
from harmonia_compiler.syntax.token import Token

#: A line that begins with one of these goes on with the one before.
CONTINUING = frozenset({"PLUS", "EQUAL", "COMPARISON", "AT_MOST", "TILDE", "VBAR", "_ARROW", "DOT", "COMMA", "COLON"})
CONTINUING |= {"ELSE", "ELIF", "OR", "AND", "LPAR", "LSQB", "LBRACE", "RPAR", "RSQB", "UNTIL", "WITHIN", "WHERE"}
#: What goes on with a statement, and the headers of the blocks that it goes on from.
GOES_ON = {"UNTIL": ("REPEAT",), "ELIF": ("IF", "ELIF"), "ELSE": ("IF", "ELIF")}


class Header(msgspec.Struct):
    """The keyword of a block's header, with the indentation of its line."""

    token: Token
    indent: int


class Open(msgspec.Struct):
    """An open bracket with the indentation of its line; a block's with the keyword of its header.

    A pipeline is `flat` whose first line stands no deeper than its header: how deep its lines stand tells nothing.
    """

    token: Token
    indent: int
    header: str = ""
    flat: bool = False


class Brackets(msgspec.Struct):
    """The tokens that are put out, and the brackets among them.

    `stack` holds the open ones, `header` a block's header without its `{`, `indent` that of the statement at hand.
    `lacking` counts the `}` that the declaration at hand lacks: only then does indentation tell anything. Below 0
    it has that many too many, and so lacks `{`.
    """

    lexer: Lexer
    tokens: list[Token] = []
    stack: list[Open] = []
    header: Header | None = None
    indent: int = 0
    lacking: int = 0

    @property
    def before(self) -> str:
        """The kind of the last token."""
        return self.tokens[-1].kind if self.tokens else ""

    def inside(self, opener: str) -> bool:
        """Whether the innermost open bracket is one of these."""
        return bool(self.stack) and self.stack[-1].token.kind == opener

    def open(self, token: Token) -> None:
        """An opening bracket: a `{` behind another one is too many, where `}` are lacking."""
        if token.kind == self.before == "LBRACE" and self.lacking > 0:
            self.lexer.report("E0101", "expected a statement, found `{`", *token.place, "delete it")
            self.lacking -= 1
            return
        header = self.header if token.kind == "LBRACE" else None
        self.stack.append(Open(token, self.indent, header.token.kind if header else ""))
        self.header = None if token.kind == "LBRACE" else self.header
        self.tokens.append(token)

    def open_missing(self, mark: Token) -> None:
        """A header that is followed by a statement's line lacks its `{`, where that line stands in a block."""
        header = self.header
        if header is None or mark.kind in ("ELIF", "ELSE", "UNTIL") or not self.tokens:
            return
        if self.before in CONTINUING - CLOSERS or (mark.indent <= header.indent and self.lacking >= 0):
            return
        end = self.tokens[-1].end
        what = "the pipeline" if header.token.kind == "PIPELINE" else f"`{header.token.text}`"
        message = f"expected `{{` to open the block of {what}"
        self.lexer.report("E0101", message, end, end, "put `{` at the end of this line")
        self.open(virtual("LBRACE", end))
        self.lacking += 1

    def close(self, token: Token) -> None:
        """A closing bracket: closes its own, or proves which one is missing."""
        if (
            token.kind == "RBRACE"
            and self.lacking < 0
            and self.inside("LBRACE")
            and self.stack[-1].indent < self.indent
        ):
            self.lacking += 1
            self.report_needless(token)
            return
        openers = [opened.token.kind for opened in self.stack]
        wanted = next(opener for opener, closer in CLOSER_OF.items() if closer == token.kind)
        if token.kind == "RBRACE" and wanted in openers:
            self.close_down_to("LBRACE")
        elif openers and openers[-1] != wanted:
            innermost = openers[len(openers) - openers[::-1].index("LBRACE") :] if "LBRACE" in openers else openers
            if wanted in innermost:
                self.close_down_to(wanted)
            elif innermost:
                self.report_unclosed(self.stack[-1].token, f", but `{token.text}` follows")
                token = renamed(CLOSER_OF[openers[-1]], token)
        if not self.stack or CLOSER_OF[self.stack[-1].token.kind] != token.kind:
            self.report_needless(token)
            return
        opened = self.stack.pop().token
        if token.kind == "RBRACE":
            self.header = None
            if self.lacking < 0 and not self.stack:
                # One of those before was too many, and a part of the pipeline stands behind this one.
                self.lexer.damage.guessed.append(opened.start)
        self.tokens.append(token)

    def close_by_indent(self, mark: Token) -> None:
        """Where `}` are lacking, a line that stands no deeper than a block's header is outside of the block."""
        kind = mark.kind
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
        while self.stack and self.stack[-1].token.kind != opener:
            self.close_missing()

    def close_all(self) -> None:
        """Close whatever stands open."""
        while self.stack:
            self.close_missing()

    def close_missing(self) -> None:
        """Close the innermost bracket for the user, and say so."""
        last = self.stack.pop()
        opened = last.token
        self.lacking -= opened.kind == "LBRACE"
        if opened.kind == "LBRACE" and (last.header != "PIPELINE" or last.flat):
            self.lexer.damage.guessed.append(opened.start)
        end = self.tokens[-1].end
        self.tokens.append(virtual(CLOSER_OF[opened.kind], end))
        if not self.is_damaged(opened):
            self.report_unclosed(opened)

    def report_needless(self, token: Token) -> None:
        """Report a closing bracket that has none to close; one that stands in for another goes without a word."""
        if token.is_made:
            return
        start, end = token.place
        self.lexer.damage.unbalanced.append(start)
        if not self.lexer.damage.holds(self.lexer.source, start):
            self.lexer.report(
                "E0112", f"`{token.text}` closes nothing", start, end, "delete it, or open the bracket before"
            )

    def report_unclosed(self, opened: Token, but: str = "") -> None:
        """Report an opening bracket that nothing closes."""
        if opened.kind != "LBRACE":
            self.lexer.damage.unbalanced.append(opened.start)
        closer = SIGN_OF[CLOSER_OF[opened.kind]]
        message = f"`{SIGN_OF[opened.kind]}` is never closed{but}"
        self.lexer.report("E0102", message, *opened.place, f"close it with `{closer}`")

    def is_damaged(self, opened: Token) -> bool:
        """Whether a text that is not closed may have swallowed the bracket's partner, or the bracket is our own."""
        start = opened.start
        if any(start < at < self.tokens[-1].end for at in self.lexer.damage.swallowing):
            return True
        return opened.is_made or self.lexer.damage.holds(self.lexer.source, start)
