"""How long checking takes for a file of 10,000 lines with every construct of the language, and how much is parsing.

    python bench/check_large.py

The check is a process of its own each time, with its bytecode kept from a run that does not count; parsing runs in
this process. Then once for each shape of `many.py`, with as many declarations as make 10,000 lines, be they right or
wrong. Exits 1 if a check misses the limit, the first one in the median.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.many import FIRST, SHAPES, shaped
from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.parser import parse

RUNS = 5
LINES = 10_000
LIMIT_S = 3.0

_HEAD = """\
class interactive(deadline: 3 s, weight: 4)
class batch(deadline: 2 min, weight: 1)
type step = (thought: text ~ 30 tokens, done: bool)
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 8)
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
"""
_BLOCK = '''
# One pipeline with what it calls.
component grade_{n}(question: text, passages: [passage]) -> "yes" | "no" = small("""
    {{passages}}
    Do these passages answer: {{question}}
    """)
component reason_{n}(question: text, found: [passage], chain: [text]) -> step = small("{{found}} {{question}}{{chain}}")
component rephrase_{n}(question: text) -> [text ~ 15 tokens] ~ 3 = small("Other phrasings of: {{question}}")
component answer_{n}(question: text, passages: [passage]) -> text ~ 60 tokens = small(max_tokens: 128, """
    {{passages}}
    {{question}}
    """)

pipeline pipeline_{n}(question: text ~ 20 tokens, urgency: class) -> text {{
    slo p95 latency <= 4 s, p95 ttft <= 800 ms
    load interactive 2 rps peak 6 rps, batch 1 rps
    found = search(question, top_k: 4) within 800 ms else []
    if urgency == "interactive" {{
        found = fuse(each query in rephrase_{n}(question) + [question]: search(query), top_k: 6)
    }} elif grade_{n}(question, found) == "no" ~ 0.3 {{
        found = found + search("more")
    }}
    chain = []
    repeat up to 3 {{
        next = reason_{n}(question, found, chain)
        chain = chain + [next.thought]
        found = found + search(next.thought)
    }} until next.done ~ 0.4
    kept = each p in found where grade_{n}(question, [p]) == "yes" ~ 0.6: p
    return stream answer_{n}(question, kept) else "Please try again later."
}}
'''


def program() -> str:
    """A program of exactly LINES lines."""
    per_block = _BLOCK.count("\n")
    text = _HEAD + "".join(_BLOCK.format(n=n) for n in range((LINES - _HEAD.count("\n")) // per_block))
    return text + "# The rest is comment.\n" * (LINES - text.count("\n"))


def check_s(path: Path, bytecode: Path) -> float:
    """Wall time of one `harmoniac check` in s, start of Python included; what it finds counts as checked.

    Raises CalledProcessError where it ends in any other way.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
    command = [sys.executable, "-c", "from harmonia_compiler.cli.main import main; main()", "check", str(path)]
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    took = time.perf_counter() - begin
    if done.returncode not in (FINE, DIAGNOSTICS):
        done.check_returncode()
    return took


def shape_s(shape: str, folder: Path, bytecode: Path) -> float:
    """Wall time of one check of LINES lines of a shape, what they import included."""
    for name, text in shaped(shape, lines=LINES).items():
        (folder / name).write_text(text, encoding="utf-8")
    return check_s(folder / FIRST, bytecode)


def parse_s(text: str) -> float:
    """Wall time of reading the text in this process, in s."""
    begin = time.perf_counter()
    file = parse(Source("large.rag", text), Findings())
    assert file.whole
    return time.perf_counter() - begin


def main() -> int:
    """Measure and print; 1 if the limit is missed."""
    text = program()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.rag"
        path.write_text(text, encoding="utf-8")
        bytecode = Path(folder) / "bytecode"
        whole = [check_s(path, bytecode) for _ in range(RUNS + 1)][1:]
        shapes = {shape: shape_s(shape, Path(folder), bytecode) for shape in SHAPES}
    alone = [parse_s(text) for _ in range(RUNS + 1)][1:]
    median = statistics.median(whole)
    print(
        f"check, {LINES} lines ({len(text) / 1024:.0f} KiB): "
        f"{min(whole):.2f} s fastest, {median:.2f} s median of {RUNS} (limit {LIMIT_S:.0f} s)"
    )
    print(f"parsing alone: {min(alone):.2f} s fastest, {statistics.median(alone):.2f} s median of {RUNS}")
    for shape, took in shapes.items():
        print(f"many {shape}: {took:.2f} s")
    return 0 if max(median, *shapes.values()) < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
