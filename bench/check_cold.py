"""How long `harmoniac check` takes on a file of 100 lines, start of Python included.

Each run is a process of its own, of the command as it is installed. Bytecode lies in a folder of this script, filled by
a run that does not count, as it does in an installed package. Prints the fastest and the median; the median counts.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 15
LINES = 100
LIMIT_MS = 300.0


def program() -> str:
    """A program of exactly LINES lines: a base, prompts, branches, a few pipelines."""
    head = [
        'component minilm = embedder("all-MiniLM-L6-v2")',
        'component search = milvus("docs", embedder: minilm, top_k: 8)',
        'component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)',
    ]
    block = """
# One pipeline with what it calls.
component grade_{n}(question: text, passages: [passage]) -> "yes" | "no" = small(\"""
    {{passages}}
    Do these passages answer: {{question}}
    \""")
component answer_{n}(question: text, passages: [passage]) -> text ~ 60 tokens = small(max_tokens: 128, \"""
    {{passages}}
    {{question}}
    \""")
pipeline pipeline_{n}(question: text ~ 20 tokens) -> text {{
    slo p95 latency <= 4 s, p95 ttft <= 800 ms
    load 2 rps peak 6 rps
    passages = search(question, top_k: 4)
    if grade_{n}(question, passages) == "no" ~ 0.3 {{
        passages = passages + search("more")
    }}
    return stream answer_{n}(question, passages)
}}"""
    lines = head + [line for n in range(5) for line in block.format(n=n).split("\n")]
    lines += ["# The rest is comment."] * (LINES - len(lines))
    return "\n".join(lines[:LINES]) + "\n"


def times_ms(path: Path, bytecode: Path) -> list[float]:
    """Wall time of each run in ms. Raises CalledProcessError if the file is not fine."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
    command = [str(Path(sys.executable).with_name("harmoniac")), "check", str(path)]
    found = []
    for _ in range(RUNS + 1):
        begin = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        found.append((time.perf_counter() - begin) * 1000.0)
    return found[1:]


def main() -> int:
    """Measure and print; 1 if the limit is missed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hundred.rag"
        path.write_text(program(), encoding="utf-8")
        found = times_ms(path, Path(folder) / "bytecode")
    median = statistics.median(found)
    print(
        f"check, {LINES} lines, cold: {min(found):.0f} ms fastest, {median:.0f} ms median "
        f"of {RUNS} (limit {LIMIT_MS:.0f} ms)"
    )
    return 0 if median < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
