"""Programs of many short declarations, of each sort in which one might look at all others for each."""

_SHARED = """\
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 8)
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component answer(q: text, p: [passage]) -> text ~ 9 tokens = small("{q}{p}")
component rewrite(q: text) -> text ~ 9 tokens = small("{q}")
"""
_CORRECTIVE = """\
component grade{n}(q: text, p: [passage]) -> "yes" | "no" = small("{{q}} {{p}}")
pipeline p{n}(q: text ~ 9 tokens) -> text {{
    found = search(q, top_k: 20)
    if grade{n}(q, found) == "no" ~ 0.3 {{ found = search(rewrite(q)) }}
    return stream answer(q, found) within 3 s else "later"
}}
"""

#: A line or a few for each number, and what stands before all of them.
SHAPES = {
    "pipelines": ("", "pipeline p{n}(q: text) -> text {{ return q }}\n"),
    "corrective pipelines": (_SHARED, _CORRECTIVE),
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
