"""The real controller in a rehearsal: the bundle that it looks after, and what it did, for the report.

Nothing here starts or stops a replica, so that their numbers stay; how calls are divided among them may change.
"""

from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Address, Endpoint, Endpoints, Service
from harmonia_compiler.contract.plan import Plan, encode_plan
from harmonia_compiler.emulate.simulate import steering
from harmonia_compiler.report.document import Decision
from harmonia_compiler.runtime.actuators.supervision.beside import last_words
from harmonia_compiler.runtime.actuators.supervision.rundir import ADDRESS, ENDPOINTS
from harmonia_compiler.runtime.bundle import PLAN, SERVICE
from harmonia_compiler.runtime.controller import journal
from harmonia_compiler.runtime.controller.controller import JOURNAL


def write_bundle(bundle: Path, plan: Plan, service: Service, replicas: tuple[Endpoint, ...]) -> Path:
    """What gateway and controller find: plan and service, and replicas that run; where the latter stand."""
    run = bundle / "run"
    run.mkdir(parents=True)
    (bundle / PLAN).write_bytes(encode_plan(plan))
    (bundle / SERVICE).write_bytes(msgspec.json.encode(service))
    (run / ENDPOINTS).write_bytes(msgspec.json.encode(Endpoints(replicas, 1)))
    return run / ENDPOINTS


def write_address(bundle: Path, host: str, port: int) -> None:
    """Say where the gateway listens, once it does."""
    (bundle / "run" / ADDRESS).write_bytes(msgspec.json.encode(Address(host, port)))


def decided(bundle: Path, began_s: float, factor: float) -> tuple[Decision, ...]:
    """What the controller did, by the time that is rehearsed; the requests began at that second of the epoch."""
    return tuple(
        Decision((said.at - began_s) * 1000.0 / factor, one.about or "division of calls", one.why)
        for said in journal.read(bundle / "run" / JOURNAL)
        for one in said.reasons
        if one.acted
    )


def idle(bundle: Path) -> str:
    """Why the controller did nothing in the end, as a note; empty where it said nothing."""
    said = last_words(bundle / "run")
    return "" if said is None else steering.last_words(said.reasons)
