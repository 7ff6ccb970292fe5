"""The nodes of a Slurm cluster, by `scontrol`.

Its lines of `Key=value` have looked the same for many releases, which cannot be said of Slurm's JSON.
"""

import re
from itertools import zip_longest

from harmonia_compiler.profile.clusters.nodes import Manager, Node

#: A key begins a line or follows a space; a value may have spaces and further `=` in it.
_KEY = re.compile(r"(?:^| )([A-Za-z]\w*)=")

#: Any more digits are of no machine.
_WHOLE = re.compile(r"[0-9]{1,12}")

#: Flags of a node's state with which Slurm starts no job there, however free it is.
_ABSENT = {"DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "FUTURE", "INVAL", "NOT_RESPONDING", "UNKNOWN"}

#: A star after a state: the node does not answer.
_SILENT = "*"


def read(listing: str) -> list[Node]:
    """The nodes that `scontrol` lists, one a line."""
    lines = [line for line in listing.splitlines() if line.strip() and line.strip() != "No nodes in the system"]
    return [_node(_fields(line)) for line in lines]


def _fields(line: str) -> dict[str, str]:
    keys = list(_KEY.finditer(line))
    found: dict[str, str] = {}
    for key, following in zip_longest(keys, keys[1:]):
        # What people write, a reason or a comment, stands last and may look like a field.
        end = len(line) if following is None else following.start()
        found.setdefault(key.group(1), line[key.end() : end].strip())
    return found


def _node(fields: dict[str, str]) -> Node:
    if "NodeName" not in fields:
        raise ValueError("a line names no node")
    # Cores and memory that are set aside for Slurm itself are not given to jobs.
    cpus, total, memory, kept = (
        _number(key, fields.get(key, "")) for key in ("CPUEfctv", "CPUTot", "RealMemory", "MemSpecLimit")
    )
    state = fields.get("State", "")
    flags = set(re.findall(r"[A-Z_]+", state))
    absent = f"it is {state}" if flags & _ABSENT or _SILENT in state else ""
    return Node(fields["NodeName"], cpus or total, (memory - kept) / 1024, tuple(_gpus(fields.get("Gres", ""))), absent)


def _number(key: str, written: str) -> int:
    """What a field counts, 0 where it is left out; raises ValueError where it is no number."""
    if written and not _WHOLE.fullmatch(written):
        raise ValueError(f"`{key}` of a node is `{written[:40]}`, which is no number")
    return int(written or 0)


def _gpus(gres: str) -> list[tuple[str, int]]:
    """Of `gpu:a100:4(S:0-1),gpu:2,shard:8` what is a whole GPU: the name of its type, or `gpu`, and how many."""
    found = []
    for one in re.sub(r"\([^)]*\)", "", gres).split(","):
        parts = one.split(":")
        if parts[0] == "gpu" and len(parts) > 1:
            found.append((parts[1] if len(parts) > 2 else "gpu", _number("Gres", parts[-1])))
    return found


MANAGER = Manager("slurm", ("scontrol", "--oneliner", "show", "nodes"), read)
