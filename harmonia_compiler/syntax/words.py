"""The words of the language by what they do: what the reader, the highlighters and the reference have in common."""

#: The keywords. `grammar/rag.lark` has these and no others.
DECLARING = ("import", "from", "as", "type", "class", "component", "pipeline")
CLAUSES = ("slo", "load", "peak")
FLOW = (
    *("return", "stream", "if", "elif", "else", "repeat", "up", "to", "until"),
    *("each", "in", "where", "within"),
)
LOGIC = ("or", "and", "not")
CONSTANTS = ("true", "false")
KEYWORDS = (*DECLARING, *CLAUSES, *FLOW, *LOGIC, *CONSTANTS)

#: Names that the language gives a meaning in their place.
TYPES = ("text", "number", "bool", "vector", "message", "passage")
UNITS = ("ms", "s", "min", "h", "rps", "KiB", "MiB", "GiB", "tokens")
