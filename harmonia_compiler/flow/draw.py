"""Pictures in drawing languages: Mermaid and Graphviz DOT. No text of the user's can leave its label."""

from collections.abc import Iterator, Sequence

from harmonia_compiler.flow.picture import Box, Closed, Opened, Picture, Shape

#: Frames in frames are indented no further than this, in steps: what is nested deeply would be mostly spaces.
_MOST_INDENTED = 40

_MERMAID_SHAPES: dict[Shape, tuple[str, str]] = {
    "input": ("([", "])"),
    "call": ("[", "]"),
    "branch": ("{", "}"),
    "data": ("(", ")"),
    "answer": ("([", "])"),
}
_DOT_SHAPES: dict[Shape, str] = {
    "input": "shape=ellipse",
    "call": "shape=box",
    "branch": "shape=diamond",
    "data": 'shape=box, style="rounded"',
    "answer": "shape=ellipse, peripheries=2",
}


def mermaid(pictures: Sequence[Picture]) -> str:
    """One flowchart with a subgraph for each picture, and in it one for each frame."""
    lines = ["flowchart TD"]
    for number, each in enumerate(pictures):
        lines.append(f'  subgraph s{number}["{_mermaid(each.title)}"]')
        for part, indent in _indented(each):
            match part:
                case Opened(name, title):
                    lines.append(f'{indent}subgraph {name}["{_mermaid(title)}"]')
                case Closed():
                    lines.append(f"{indent}end")
                case Box(name, shape, texts):
                    opened, closed = _MERMAID_SHAPES[shape]
                    lines.append(f'{indent}{name}{opened}"{"<br/>".join(map(_mermaid, texts))}"{closed}')
        for arrow in each.arrows:
            line = "-.->" if arrow.is_dashed else "-->"
            label = f'|"{_mermaid(arrow.label)}"|' if arrow.label else ""
            lines.append(f"    {arrow.source} {line}{label} {arrow.target}")
        lines.append("  end")
    return "\n".join(lines) + "\n"


def dot(pictures: Sequence[Picture]) -> str:
    """One digraph with a cluster for each picture, and in it one for each frame."""
    lines = ["digraph flows {", '  node [fontname="Helvetica"];']
    for number, each in enumerate(pictures):
        lines += [f"  subgraph cluster_{number} {{", f'    label="{_dot(each.title)}";']
        for part, indent in _indented(each):
            match part:
                case Opened(name, title):
                    lines += [f"{indent}subgraph cluster_{name} {{", f'{indent}  label="{_dot(title)}";']
                case Closed():
                    lines.append(f"{indent}}}")
                case Box(name, shape, texts):
                    label = "\\n".join(map(_dot, texts))
                    lines.append(f'{indent}{name} [label="{label}", {_DOT_SHAPES[shape]}];')
        for arrow in each.arrows:
            style = ", style=dashed" if arrow.is_dashed else ""
            lines.append(f'    {arrow.source} -> {arrow.target} [label="{_dot(arrow.label)}"{style}];')
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _indented(picture: Picture) -> Iterator[tuple[Box | Opened | Closed, str]]:
    """The parts of a picture, each with the spaces that show how deep it is framed."""
    depth = 0
    for part in picture.parts:
        depth -= isinstance(part, Closed)
        yield part, "  " * min(2 + depth, _MOST_INDENTED)
        depth += isinstance(part, Opened)


def _mermaid(text: str) -> str:
    """Letters, digits and harmless signs as they are, everything else as a numbered entity."""
    return "".join(char if char.isalnum() or char in " _-.,=×·…%~?" else f"#{ord(char)};" for char in _printable(text))


def _dot(text: str) -> str:
    return _printable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
