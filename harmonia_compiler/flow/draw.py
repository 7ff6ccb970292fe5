"""Pictures in drawing languages: Mermaid and Graphviz DOT. No text of the user's can leave its label."""

from collections.abc import Sequence

from harmonia_compiler.flow.picture import Picture, Shape

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
    """One flowchart with a subgraph for each picture."""
    lines = ["flowchart TD"]
    for number, each in enumerate(pictures):
        lines.append(f'  subgraph s{number}["{_mermaid(each.title)}"]')
        for box in each.boxes:
            opened, closed = _MERMAID_SHAPES[box.shape]
            lines.append(f'    {box.name}{opened}"{"<br/>".join(map(_mermaid, box.lines))}"{closed}')
        for arrow in each.arrows:
            line = "-.->" if arrow.decides else "-->"
            label = f'|"{_mermaid(arrow.label)}"|' if arrow.label else ""
            lines.append(f"    {arrow.source} {line}{label} {arrow.target}")
        lines.append("  end")
    return "\n".join(lines) + "\n"


def dot(pictures: Sequence[Picture]) -> str:
    """One digraph with a cluster for each picture."""
    lines = ["digraph flows {", '  node [fontname="Helvetica"];']
    for number, each in enumerate(pictures):
        lines += [f"  subgraph cluster_{number} {{", f'    label="{_dot(each.title)}";']
        for box in each.boxes:
            label = "\\n".join(map(_dot, box.lines))
            lines.append(f'    {box.name} [label="{label}", {_DOT_SHAPES[box.shape]}];')
        for arrow in each.arrows:
            style = ", style=dashed" if arrow.decides else ""
            lines.append(f'    {arrow.source} -> {arrow.target} [label="{_dot(arrow.label)}"{style}];')
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _mermaid(text: str) -> str:
    """Letters, digits and harmless signs as they are, everything else as a numbered entity."""
    return "".join(char if char.isalnum() or char in " _-.,=×·…%" else f"#{ord(char)};" for char in _printable(text))


def _dot(text: str) -> str:
    return _printable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
