"""Whose figures hold for a language model on a part of the hardware. Planner, emulator and simulator ask here.

Best first: what was measured of that engine on such hardware, NVIDIA's tables, the roofline. `HARMONIA_PROFILES` says
which of them may be taken, so that a plan can be made alike where others have measured or installed something.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from harmonia_compiler.contract.card import Card, is_added
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.home import cache, profile_store
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.profile.assumptions import SHARED_EFFICIENCY
from harmonia_compiler.profile.device import CpuPart, GpuPart
from harmonia_compiler.profile.memory import precision_of
from harmonia_compiler.profile.record import MeasuredProfile
from harmonia_compiler.profile.steps import Slower, StepModel, roofline
from harmonia_compiler.profile.store import is_vllm, kept
from harmonia_compiler.profile.table_grids import grid_for
from harmonia_compiler.profile.tables import shape_of

VARIABLE = "HARMONIA_PROFILES"
#: What may be taken; the roofline always is where nothing else holds.
_WORDS = ("measured", "tables", "roofline")

ROOFLINE = "analytic: roofline, data sheet"
CPU_ROOFLINE = "analytic: roofline, modest core"


@dataclass(frozen=True, slots=True)
class Sourced:
    """The steps of an engine, and where their figures are from."""

    steps: StepModel
    provenance: str


@dataclass(slots=True)
class Sources:
    """What there is beside the roofline: measured profiles, and tables, whose grids lie in a folder."""

    measured: tuple[MeasuredProfile, ...] = ()
    tables: Path | None = None
    _found: dict[tuple[Card, str, str, GpuPart | CpuPart], Sourced] = field(default_factory=dict)

    def steps(self, engine: Engine, card: Card, part: GpuPart | CpuPart) -> Sourced:
        """The best that is known of an engine's steps on a part of the hardware."""
        server = str(engine.settings.get("server", "auto"))
        key = (card, precision_of(engine, card, part.precision), server, part)
        if key not in self._found:
            self._found[key] = self._best(card, key[1], server, part)
        return self._found[key]

    def _best(self, card: Card, precision: str, server: str, part: GpuPart | CpuPart) -> Sourced:
        whole = GpuPart(part.type, 1.0) if isinstance(part, GpuPart) and part.gpus < 1 else part
        known = self._measured(card, precision, server, whole) or self._table(card, precision, whole)
        if known is None:
            return Sourced(roofline(card, precision, part), CPU_ROOFLINE if isinstance(part, CpuPart) else ROOFLINE)
        if isinstance(part, GpuPart) and part.gpus < 1:
            return Sourced(Slower(known.steps, 1.0 / (part.gpus * SHARED_EFFICIENCY)), known.provenance)
        return known

    def _measured(self, card: Card, precision: str, server: str, part: GpuPart | CpuPart) -> Sourced | None:
        """The latest profile of this model and these numbers, on as many GPUs of the type or as many such cores."""
        names = {card.name, *card.aliases}
        found = [
            each
            for each in self.measured
            if each.ran is not None
            and each.model in names
            and _is_same(each.ran.revision, card.revision)
            and each.ran.precision == precision
            and server in ("auto", "vllm" if is_vllm(each) else "transformers")
            and (
                (each.ran.gpu, each.ran.gpus) == (part.type, part.gpus)
                if isinstance(part, GpuPart)
                else (each.ran.gpu, each.ran.cores) == ("", part.cores)
                and part.processor in ("", each.machine.processor)
            )
        ]
        if not found:
            return None
        latest = max(found, key=lambda each: each.measured_on)
        return Sourced(latest.steps, latest.provenance)

    def _table(self, card: Card, precision: str, part: GpuPart | CpuPart) -> Sourced | None:
        if self.tables is None or isinstance(part, CpuPart):
            return None
        shape = shape_of(card, part.type, part.tensor_parallel, precision)
        grid = None if shape is None else grid_for(shape, self.tables)
        return None if shape is None or grid is None else Sourced(grid, shape.provenance)


def _is_same(measured: str, planned: str) -> bool:
    """Whether two revisions of a model are as fast as each other: a hub's are, and what was added is itself alone."""
    return measured == planned or not (is_added(measured) or is_added(planned))


def sources_here() -> Sources:
    """What this machine has, as far as `HARMONIA_PROFILES` allows it. Raises Rejected where it allows what is none."""
    return _sources(os.environ.get(VARIABLE, ",".join(_WORDS)), profile_store(), cache())


@lru_cache(maxsize=4)
def _sources(said: str, measured: Path, tables: Path) -> Sources:
    allowed = list(_allowed(said))
    return Sources(
        measured=tuple(kept(measured)) if "measured" in allowed else (),
        tables=tables if "tables" in allowed else None,
    )


def _allowed(said: str) -> Iterable[str]:
    for word in filter(None, map(str.strip, said.split(","))):
        if word not in _WORDS:
            help = suggestion(word[:64], _WORDS, f"set it to some of {', '.join(_WORDS)}, with commas between")
            raise Rejected(
                [Diagnostic("E1206", f"{VARIABLE} allows `{word[:64]}`, which is no source of figures", help=help)]
            )
        yield word
