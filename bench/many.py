"""Programs of many short declarations, of each sort in which one might look at all others for each."""

#: A line or a few for each number, and what stands before all of them.
SHAPES = {
    "pipelines": ("", "pipeline p{n}(q: text) -> text {{ return q }}\n"),
    "unused ports": ("", "pipeline p{n}(q: text, r: text) -> text {{ return q }}\n"),
    "classes": ("", "class c{n}(weight: 2)\npipeline p{n}(q: text) -> text {{ return q }}\n"),
    "ports of a class": ("class a()\n", "pipeline p{n}(q: text, k: class) -> text {{\nload a 1 rps\nreturn q }}\n"),
    "ports of an unread class": (
        'import a from "no.rag"\n',
        "pipeline p{n}(q: text, k: class) -> text {{ return q }}\n",
    ),
    "imports": ("", 'import c{n} as d{n} from "many.rag"\n'),
    "imports of nothing": ("", 'import x{n} from "many.rag"\n'),
    "unknown kinds": ("", "component c{n} = f()\n"),
    "unknown types": ("", "type t{n} = u{n}\n"),
    "unknown components": ("", "pipeline p{n}(q: text) -> text {{ return f{n}(q) }}\n"),
    "unknown classes": ("class a()\n", "pipeline p{n}(q: text) -> text {{\nload d{n} 1 rps\nreturn q }}\n"),
    "unknown settings": ("", 'component c{n} = milvus("docs", embedder: e{n})\n'),
}


#: The file to check; another one is imported by it.
FIRST = "first.rag"


def shaped(shape: str, *, lines: int) -> dict[str, str]:
    """The files of a program of about so many lines, by name."""
    head, block = SHAPES[shape]
    imports = "many.rag" in block
    many = lines // (block.count("\n") + imports)
    text = head + "".join(block.format(n=n) for n in range(many))
    imported = "".join(f'component c{n}(q: text) -> text = python("m:f")\n' for n in range(many))
    return {FIRST: text} | ({"many.rag": imported} if imports else {})
