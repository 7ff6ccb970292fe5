"""The parts of scheduling that can be turned off, to see what each is worth, and the controller beside it."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Parts:
    """Which are on.

    With none, calls go first come first served, to replicas in turn; every request is let in, and all stays as planned.
    """

    admission: bool = True
    shedding: bool = True
    slack: bool = True
    routing: bool = True
    affinity: bool = True
    controller: bool = True

    def without(self, names: "tuple[str, ...]") -> "Parts":
        """The same with some turned off; their names are those of `PARTS`."""
        return replace(self, **dict.fromkeys(names, False))

    @property
    def off(self) -> "tuple[str, ...]":
        """The names of those that are turned off."""
        return tuple(name for name in PARTS if not getattr(self, name))


#: What each does, by its name.
PARTS = {
    "admission": "refuse a request that would be answered too late, as it comes or after it has waited at the door",
    "shedding": "give a call up when its turn comes where its request is late in all likelihood",
    "slack": "let the call with the least slack go first",
    "routing": "give a call to the replica that should be done soonest, and not to each in turn",
    "affinity": "give calls that begin alike to the same replica, which has that at hand",
    "controller": "divide calls anew, and change numbers of replicas, by what happens",
}
assert [*PARTS] == [one.name for one in fields(Parts)]
ALL = Parts()
NONE = ALL.without(tuple(PARTS))
#: First come first served, with all let in and as planned, but to replicas that are chosen as always.
PLAIN = ALL.without(("admission", "shedding", "slack", "controller"))


def only(*names: str) -> Parts:
    """The plain way with these beside it."""
    return replace(PLAIN, **dict.fromkeys(names, True))
