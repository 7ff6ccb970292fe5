"""Runs every measurement of this folder, one after the other, so that none disturbs another: `make bench`.

    python bench/run.py [NAME...]

A measurement is a script beside this one that prints its figures. Exits 1 where one of them failed.
"""

import platform
import subprocess
import sys
from pathlib import Path

import psutil

FOLDER = Path(__file__).parent


def main(names: list[str]) -> int:
    """Run the named measurements, or all of them; the number that failed, at most 1."""
    found = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path != Path(__file__)}
    if unknown := set(names) - found.keys():
        print(f"no such measurement: {', '.join(sorted(unknown))}; there are: {', '.join(found)}", file=sys.stderr)
        return 2
    memory_gib = psutil.virtual_memory().total / 2**30
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.machine()}")
    failed = False
    for name in names or found:
        print(f"\n== {name}", flush=True)
        failed |= subprocess.run([sys.executable, found[name]], check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
