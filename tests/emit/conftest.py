"""Applications from the samples with plans of one replica an engine, so that no figure of the planner shows here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import (
    FORMAT_VERSION,
    Configuration,
    PipelineShare,
    Plan,
    Predicted,
    Replica,
    Solver,
)
from harmonia_compiler.contract.site import parse_site
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.emit.bundle import write_bundle
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.kinds.registry import kinds

ROOT = Path(__file__).parents[2]
CONFIGURATION = Configuration(cores=1.0, memory_gib=2.0, batch=4)


@dataclass(frozen=True)
class Planned:
    """An application with a plan for it, and the folder that its files lie under."""

    application: Application
    plan: Plan
    root: Path

    def write(self, out: Path, target: str = "local", site: str = "", hosts: Sequence[Host] = ()) -> dict[str, str]:
        """The files of the bundle, by their paths in it; `site` is the text of a site profile."""
        described = parse_site(Source("site.toml", site))
        write_bundle(self.plan, self.application, target=target, out=out, root=self.root, site=described, hosts=hosts)
        return {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}

    def on_hosts(self, *hosts: str) -> "Planned":
        """The same with the replicas spread over hosts."""
        replicas = tuple(
            msgspec.structs.replace(replica, host=hosts[position % len(hosts)])
            for position, replica in enumerate(self.plan.replicas)
        )
        return Planned(self.application, msgspec.structs.replace(self.plan, replicas=replicas), self.root)


def planned(*files: Path, root: Path) -> Planned:
    checked = check_files(files, root=root)
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    placed = [engine for engine in application.engines.values() if not kinds()[engine.kind].external]
    components = dict(sorted(application.components.items()))
    plan = Plan(
        format_version=FORMAT_VERSION,
        objective="throughput",
        pipelines=tuple(PipelineShare(flow.name, 0.05, {}) for flow in application.flows),
        components=components,
        engines=dict(sorted(application.engines.items())),
        replicas=tuple(
            Replica(
                f"{engine.id}-0",
                engine.id,
                "laptop",
                (),
                CONFIGURATION.cores,
                CONFIGURATION.memory_gib,
                CONFIGURATION,
                tuple(name for name, made in components.items() if made.engine == engine.id),
            )
            for engine in placed
        ),
        predicted={flow.name: Predicted(0.4, 12_000.0, 3_000.0, 0.0, placed[0].id) for flow in application.flows},
        profiles=(),
        solver=Solver("optimal", 0.0),
        sources={},
    )
    return Planned(application, plan, root)


@pytest.fixture
def quickstart() -> Planned:
    return planned(ROOT / "samples/quickstart.rag", root=ROOT)


@pytest.fixture
def late(tmp_path: Path) -> Planned:
    """An application that calls what only the start says: an address, and a key that is a secret."""
    source = tmp_path / "late.rag"
    source.write_text(
        'component ask(question: text) -> text = http(env("ANSWERS_URL"), key: secret("ANSWERS_KEY"))\n'
        "pipeline relay(question: text) -> text {\n    load 1 rps\n    return ask(question)\n}\n"
        'component minilm = embedder("all-MiniLM-L6-v2")\n'
        "pipeline other(question: text) -> vector {\n    load 1 rps\n    return minilm(question)\n}\n"
    )
    return planned(source, root=tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose pipeline calls a Python function."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "app.rag").write_text(
        'component walk(question: text) -> text = python("hippo:walk")\n'
        "pipeline hop(question: text) -> text {\n    load 1 rps\n    return walk(question)\n}\n"
    )
    (folder / "hippo.py").write_text("import helper\nimport json\n\ndef walk(question):\n    return question\n")
    (folder / "helper.py").write_text("from tools.inner import thing\n")
    (folder / "tools").mkdir()
    (folder / "tools/__init__.py").write_text("")
    (folder / "tools/inner.py").write_text("thing = 1\n")
    (folder / "other.py").write_text("# nobody imports this\n")
    return folder
