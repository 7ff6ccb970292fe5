"""The inventory: which hosts there are, with which devices, at which price.

A TOML document of `[[hosts]]`. Reading is strict: what is misspelt would otherwise be planned
without. Every mistake is found in one go and points at its line.
"""

import errno
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.hostlist import LONGEST_NAME, HostlistError, TooManyHosts, expand
from harmonia_compiler.contract.regular import read_text
from harmonia_compiler.contract.toml_document import Document, NotToml, parse_toml, shown
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.diagnostics.source import Source

#: Names end up in commands, file names and cluster scripts.
# `.` and `..` are folders wherever a name becomes one.
NAME = re.compile(rf"(?!\.\.?\Z)[A-Za-z0-9._-]{{1,{LONGEST_NAME}}}")

MOST_HOSTS = 4096

#: Characters of a processor's name at most.
MOST_PROCESSOR = 200


class Gpu(msgspec.Struct, frozen=True):
    """GPUs of one type in a host; types bear aiconfigurator's system names (`h100_sxm`)."""

    type: str
    count: int = 1


class Host(msgspec.Struct, frozen=True, omit_defaults=True):
    """One machine. Price is per hour for the whole machine, in whatever currency the user thinks.

    `processor` is what its kernel calls the model, or empty: what was measured on cores holds on the same ones alone.
    `bf16` is whether its cores multiply 16-bit numbers by themselves (AVX512-BF16, AMX, Arm's bf16): where they do not,
    language models on CPU compute in 32 bits unless their component says otherwise.
    """

    name: str
    cpus: int
    memory_gib: float
    gpus: tuple[Gpu, ...] = ()
    price_per_hour: float = 0.0
    network_gbps: float = 10.0
    labels: dict[str, str] = {}
    processor: str = ""
    bf16: bool = True


class Inventory(msgspec.Struct, frozen=True):
    """Hosts with distinct names, host ranges already written out."""

    hosts: tuple[Host, ...]


def load_inventory(path: Path) -> Inventory:
    """Read an inventory file. Raises Rejected with everything that is wrong with it."""
    try:
        text = read_text(path)
    except OSError as problem:
        message = f"cannot read the inventory `{path}`: {problem.strerror}"
        raise Rejected([Diagnostic("E0701", message, help=_STEPS.get(problem.errno or 0, _DETECT))]) from None
    return parse_inventory(Source(str(path), text))


def parse_inventory(source: Source) -> Inventory:
    """The inventory that a text describes. Raises Rejected with everything that is wrong with it."""
    try:
        document = parse_toml(source.text)
    except NotToml as problem:
        step = "mend this line; `harmoniac inventory detect` shows what an inventory looks like"
        found = Diagnostic("E0702", f"this is not TOML: {problem.why}", source.span_of_line(problem.line), help=step)
        raise Rejected([found]) from None
    reader = _Reader(source, document)
    inventory = reader.inventory(document.values)
    if reader.findings.failed:
        raise Rejected(reader.findings.items)
    return inventory


_DETECT = "`harmoniac inventory detect` prints one for this machine"

#: What to do where the file is there, but none that is read.
_STEPS = {
    errno.EFBIG: "write hosts that are alike as a range, such as `gpu[001-128]`",
    errno.EILSEQ: "save it as UTF-8",
}


class _Reader:
    """Turns plain TOML values into hosts and notes what is wrong, with its line."""

    def __init__(self, source: Source, document: Document) -> None:
        self.source = source
        self.findings = Findings()
        self._document = document

    def inventory(self, document: dict[str, Any]) -> Inventory:
        """All hosts; those with mistakes are left out, since the mistakes are noted."""
        self._only(document, ["hosts"], ())
        entries = document.get("hosts")
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            self._wrong("E0703", "an inventory lists its machines in `[[hosts]]` tables", ("hosts",), _EXAMPLE)
            return Inventory(())
        if len(entries) > MOST_HOSTS:
            message = f"an inventory has {MOST_HOSTS:,} hosts at most, and this one lists {len(entries):,}"
            self._wrong("E0703", message, ("hosts", MOST_HOSTS), "plan for a part of them")
            return Inventory(())
        hosts: list[Host] = []
        lines: dict[str, int] = {}
        for at, entry in enumerate(entries):
            for host in self._hosts(entry, at, MOST_HOSTS - len(hosts)):
                if host.name in lines:
                    message = f"two hosts are named `{host.name}`"
                    first = lines[host.name]
                    self._wrong("E0706", message, ("hosts", at, "name"), f"rename one; the first is in line {first}")
                    break
                lines[host.name] = self._document.places.line("hosts", at, "name")
                hosts.append(host)
        return Inventory(tuple(hosts))

    def _hosts(self, entry: dict[str, Any], at: int, most: int) -> Iterable[Host]:
        """The hosts that one entry stands for; none where it has mistakes."""
        before = len(self.findings.items)
        where = ("hosts", at)
        self._only(entry, Host.__struct_fields__, where)
        names = self._names(entry, where, most)
        cpus = self._number(entry, "cpus", where, low=1, high=4096, whole=True)
        memory = self._number(entry, "memory_gib", where, low=0.125, high=2**20)
        price = self._number(entry, "price_per_hour", where, low=0, high=1e9, default=0.0)
        network = self._number(entry, "network_gbps", where, low=0.001, high=1e6, default=10.0)
        gpus = self._gpus(entry.get("gpus", []), where)
        labels = self._labels(entry.get("labels", {}), where)
        processor = self._processor(entry.get("processor", ""), where)
        bf16 = self._bf16(entry.get("bf16", True), where)
        if len(self.findings.items) > before:
            return []
        return [Host(name, int(cpus), memory, gpus, price, network, labels, processor, bf16) for name in names]

    def _names(self, entry: dict[str, Any], where: tuple[str | int, ...], most: int) -> list[str]:
        given = entry.get("name")
        if not isinstance(given, str):
            self._missing_or_wrong(entry, "name", where, 'text such as "gpu01" or "gpu[01-16]"')
            return []
        try:
            names = expand(given, most)
        except TooManyHosts as problem:
            help_ = f"an inventory has {MOST_HOSTS:,} hosts at most: plan for a part of them"
            self._wrong("E0705", str(problem), (*where, "name"), help_)
            return []
        except HostlistError as problem:
            self._wrong("E0705", str(problem), (*where, "name"), 'a range is written "gpu[01-16,20]"')
            return []
        bad = next((name for name in names if not NAME.fullmatch(name)), None)
        if bad is not None:
            shown = bad if len(bad) <= 40 else bad[:37] + "..."
            help_ = "take letters, digits, `.`, `_` and `-`, 64 at most, and not dots alone"
            self._wrong("E0705", f"`{shown!s}` cannot name a host".replace("\n", "\\n"), (*where, "name"), help_)
        return names

    def _number(
        self,
        entry: dict[str, Any],
        key: str,
        where: tuple[str | int, ...],
        *,
        low: float,
        high: float,
        whole: bool = False,
        default: float | None = None,
    ) -> float:
        kind = "a whole number" if whole else "a number"
        span = f"{shown(low)} to {shown(high)}"
        given = entry.get(key, default)
        if isinstance(given, bool) or not isinstance(given, int if whole else int | float):
            self._missing_or_wrong(entry, key, where, f"{kind} from {span}")
            return low
        if not low <= given <= high:
            self._wrong("E0704", f"`{key}` is {shown(given)}, which is out of range", (*where, key), span)
            return low
        return float(given)

    def _gpus(self, given: Any, where: tuple[str | int, ...]) -> tuple[Gpu, ...]:
        if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
            help_ = 'write `gpus = [{type = "h100_sxm", count = 8}]`'
            self._wrong("E0704", "`gpus` is a list of tables", (*where, "gpus"), help_)
            return ()
        found = []
        for at, item in enumerate(given):
            here = (*where, "gpus", at)
            self._only(item, Gpu.__struct_fields__, here)
            count = int(self._number(item, "count", here, low=1, high=64, whole=True, default=1))
            kind = item.get("type")
            if not isinstance(kind, str):
                self._missing_or_wrong(item, "type", here, 'the name of a GPU type such as "h100_sxm"')
            elif kind not in GPU_TYPES:
                message = f"`{kind[:64]}` is no GPU type that the planner knows"
                self._wrong("E0707", message, (*here, "type"), _nearest(kind, GPU_TYPES))
            else:
                found.append(Gpu(kind, count))
        return tuple(found)

    def _labels(self, given: Any, where: tuple[str | int, ...]) -> dict[str, str]:
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            self._wrong("E0704", "`labels` is a table of texts", (*where, "labels"), 'write `labels = {zone = "a"}`')
            return {}
        for key, value in given.items():
            if not NAME.fullmatch(key) or not NAME.fullmatch(value):
                help_ = "take letters, digits, `.`, `_` and `-`, 64 at most"
                self._wrong("E0705", f"`{key[:40]}` cannot be a label with this value", (*where, "labels", key), help_)
        return dict(sorted(given.items()))

    def _processor(self, given: Any, where: tuple[str | int, ...]) -> str:
        if isinstance(given, str) and len(given) <= MOST_PROCESSOR and given.isprintable():
            return given
        help_ = "take the line `model name` of /proc/cpuinfo, or leave it out"
        self._wrong("E0704", "`processor` is the name of a model, on one line", (*where, "processor"), help_)
        return ""

    def _bf16(self, given: Any, where: tuple[str | int, ...]) -> bool:
        if isinstance(given, bool):
            return given
        help_ = "write `bf16 = false` where the cores have no 16-bit arithmetic of their own, or leave it out"
        self._wrong("E0704", "`bf16` is `true` or `false`", (*where, "bf16"), help_)
        return True

    def _only(self, table: dict[str, Any], known: Iterable[str], where: tuple[str | int, ...]) -> None:
        for key in table:
            if key not in known:
                self._wrong("E0703", f"`{key[:64]}` is no key that is known here", (*where, key), _nearest(key, known))

    def _missing_or_wrong(self, table: dict[str, Any], key: str, where: tuple[str | int, ...], wanted: str) -> None:
        if key in table:
            self._wrong("E0704", f"`{key}` is of the wrong type", (*where, key), f"it takes {wanted}")
        else:
            self._wrong("E0704", f"`{key}` is missing", where, f"add `{key} = …`: {wanted}")

    def _wrong(self, code: str, message: str, where: tuple[str | int, ...], help_: str) -> None:
        self.findings.add(code, message, self.source.span_of_line(self._document.places.line(*where)), help=help_)


_EXAMPLE = 'for example `[[hosts]]`, then `name = "box"`, `cpus = 16`, `memory_gib = 64` on lines of their own'


def _nearest(name: str, known: Iterable[str]) -> str:
    return suggestion(name[:64], known, f"known are {listed(known, most=20)}")
