"""Bundles: what is in them, what is refused, and that a failure leaves an older one whole."""

import resource
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.bundle import Contents, LocalProcesses, ReplicaShare, Service
from harmonia_compiler.contract.component import Env
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.contract.plan import Configuration, Plan, ProfileUse, read_plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emit.emission import make_service
from harmonia_compiler.emit.manifest import read_manifest, target_names
from harmonia_compiler.emit.templates import markdown
from harmonia_compiler.plan.planner import make_plan

from .conftest import ROOT, Planned, planned

SAMPLES = sorted(path.stem for path in (ROOT / "samples").glob("*.rag"))
GOLDEN = Path(__file__).parent / "golden"


def refused(what: Callable[[], object]) -> str:
    with pytest.raises(Rejected) as rejected:
        what()
    return " ".join(f"{finding.code} {finding.message}" for finding in rejected.value.found)


#: What a plan says, which is the same for every target, and what a target says of the sample itself. The rest lays out
#: the engines.
DOCUMENTS = frozenset(("plan.json", "service.json"))
OF_THE_SAMPLE = frozenset(("README.md", "bundle.json"))

Emitted = Callable[[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    """The files of the bundle of a target and a sample, but for the user's code."""

    @cache
    def files(target: str, sample: str) -> dict[str, str]:
        out = tmp_path_factory.mktemp(sample) / "bundle"
        written = planned(ROOT / f"samples/{sample}.rag", root=ROOT).write(out, target)
        return {name: text for name, text in written.items() if not name.startswith("code/")}

    return files


def layout(files: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if name not in DOCUMENTS | OF_THE_SAMPLE}


def first_alike(emitted: Emitted, sample: str) -> str:
    """The first sample whose plan has the same engines."""

    def engines(sample: str) -> object:
        return msgspec.json.decode(emitted("local", sample)["plan.json"])["engines"]

    return next(other for other in SAMPLES if engines(other) == engines(sample))


@pytest.mark.parametrize("target", target_names())
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_gives_its_golden_bundle(
    target: str, sample: str, emitted: Emitted, golden: Callable[[Path, dict[str, str]], None]
) -> None:
    files = emitted(target, sample)
    held = set(OF_THE_SAMPLE)
    if target == "local":
        held |= DOCUMENTS
    if first_alike(emitted, sample) == sample:
        held |= layout(files).keys()
    golden(GOLDEN / target / sample, {name: text for name, text in files.items() if name in held})


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_documents_of_a_plan_are_the_same_for_every_target(sample: str, emitted: Emitted) -> None:
    here = emitted("local", sample)
    for target in target_names():
        assert {name: emitted(target, sample)[name] for name in DOCUMENTS} == {name: here[name] for name in DOCUMENTS}


@pytest.mark.parametrize("target", target_names())
@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_of_the_same_engines_are_laid_out_alike(target: str, sample: str, emitted: Emitted) -> None:
    assert layout(emitted(target, sample)) == layout(emitted(target, first_alike(emitted, sample)))


def test_there_is_no_golden_without_its_sample_and_target() -> None:
    assert {path.parent.name for path in GOLDEN.glob("*/*")} == set(target_names())
    assert {path.name for path in GOLDEN.glob("*/*")} == set(SAMPLES)


def test_a_bundle_reads_back_as_its_plan(quickstart: Planned, tmp_path: Path) -> None:
    files = quickstart.write(tmp_path / "bundle")
    assert read_plan(tmp_path / "bundle/plan.json") == quickstart.plan
    service = msgspec.json.decode(files["service.json"], type=Service)
    assert service.collections.keys() == {"docs"}
    assert service.shares == {replica.id: ReplicaShare(4) for replica in quickstart.plan.replicas}
    processes = msgspec.json.decode(files["local/processes.json"], type=LocalProcesses)
    assert [one.replica for one in processes.replicas] == [one.id for one in quickstart.plan.replicas]


def test_an_embedder_whose_card_does_not_say_how_long_its_vectors_are_is_refused(quickstart: Planned) -> None:
    application = quickstart.application
    engines = {
        name: replace(engine, settings={**engine.settings, "model": "SmolLM2-135M-Instruct"})
        if engine.kind == "embedder"
        else engine
        for name, engine in application.engines.items()
    }
    said = refused(lambda: make_service(quickstart.plan, replace(application, engines=engines)))
    assert said == "E0913 the card of `SmolLM2-135M-Instruct` does not say how long its vectors are"


def test_no_call_searches_a_collection_that_the_bundle_has_no_record_of(tmp_path: Path) -> None:
    source = tmp_path / "app.rag"
    text = (
        'component minilm = embedder("all-MiniLM-L6-v2")\n'
        'component search = milvus("docs", embedder: minilm)\n'
        'component wiki = milvus("wiki", embedder: minilm)\n'
        "pipeline other(question: text) -> [passage] {\n    load 1 rps\n    return wiki(question)\n}\n"
        "pipeline find(question: text) -> [passage] {\n    load 1 rps\n    return search(question)\n}\n"
    )
    source.write_text(text)
    files = planned(source, root=tmp_path).write(tmp_path / "bundle")
    service = msgspec.json.decode(files["service.json"], type=Service)
    assert service.collections.keys() == {"docs", "wiki"}
    source.write_text(text.replace("search(question)", 'search(question, collection: "other")'))
    assert [finding.code for finding in check_files([source], root=tmp_path).found] == ["E0604"]


@pytest.mark.parametrize(
    ("takes", "load"),
    [
        ("1000000000 h", "1 rps"),
        ("1 ms", f"0.{'0' * 60}1 rps"),
        ("1 ms", f"0.{'0' * 310}1 rps"),
        (f"0.{'0' * 60}1 ms", "1 rps"),
    ],
    ids=["long", "seldom", "hardly ever", "short"],
)
def test_times_and_loads_of_any_size_are_planned_and_written(tmp_path: Path, takes: str, load: str) -> None:
    (tmp_path / "shop.py").write_text("def said(q: str) -> str:\n    return q\n")
    (tmp_path / "app.rag").write_text(
        f'component said(q: text) -> text ~ 20 tokens = python("shop:said", takes: {takes})\n'
        f"pipeline p(q: text ~ 9 tokens) -> text {{\n    load {load}\n    return said(q)\n}}\n"
    )
    application = planned(tmp_path / "app.rag", root=tmp_path).application
    plan = make_plan(application, Inventory((Host("box", 4, 16.0, price_per_hour=100_000.0),)))
    Planned(application, plan, tmp_path).write(tmp_path / "bundle")
    assert read_plan(tmp_path / "bundle/plan.json").predicted == plan.predicted


def test_unlike_replicas_of_one_engine_keep_their_own_batch_and_capacity(quickstart: Planned, tmp_path: Path) -> None:
    plan = quickstart.plan
    first, *others = plan.replicas
    unlike = {
        f"{first.engine}-{at}": Configuration(2.0, 2.0, gpu, 1.0, batch=batch)
        for at, (gpu, batch) in enumerate([("", 64), ("l4", 256), ("h100", 16)])
    }
    replicas = [replace(first, id=id_, config=config) for id_, config in unlike.items()]
    uses = [
        ProfileUse(first.engine, config.describe(), "analytic", capacity, 10.0)
        for config, capacity in zip(unlike.values(), (1.0, 30.0, 90.0), strict=True)
    ]

    def shares(plan: Plan) -> dict[str, ReplicaShare]:
        return make_service(plan, quickstart.application).shares

    mixed = replace(plan, replicas=(*replicas, *others), profiles=tuple(uses))
    batches = (64, 256, 16)
    assert list(shares(mixed).values())[:3] == [
        ReplicaShare(batch, weight) for batch, weight in zip(batches, (1.0, 30.0, 90.0), strict=True)
    ]
    unknown = replace(mixed, profiles=tuple(uses[:2]))
    assert list(shares(unknown).values())[:3] == [ReplicaShare(batch) for batch in batches]


def test_what_is_asked_of_engines_for_a_request_counts_all_components_and_the_other_pipelines(tmp_path: Path) -> None:
    source = tmp_path / "app.rag"
    source.write_text(
        'component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)\n'
        'component say(q: text) -> text = small("Answer: {q}")\n'
        'component mend(q: text) -> text = small("Mend: {q}")\n'
        'component minilm = embedder("all-MiniLM-L6-v2")\n'
        'component web(q: text) -> text = http("https://example.org/web")\n'
        "pipeline often(q: text) -> text {\n    load 8 rps\n    return mend(say(web(q)))\n}\n"
        "pipeline seldom(q: text) -> (answer: text, like: vector) {\n"
        "    load 2 rps\n    return (answer: say(q), like: minilm(q))\n}\n"
    )
    application = planned(source, root=tmp_path).application
    plan = make_plan(application, Inventory((Host("box", 32, 64.0),)))
    requests = make_service(plan, application).requests
    small, minilm = (application.components[name].engine for name in ("say", "minilm"))
    # Of each ten requests eight make two calls of the model, and two one.
    assert requests["often"].calls == pytest.approx({small: (8 * 2 + 2) / 8})
    assert requests["seldom"].calls == pytest.approx({small: (8 * 2 + 2) / 2, minilm: 1.0})
    assert {name: one.works_ms for name, one in requests.items()} == {
        name: one.mean_ms for name, one in plan.predicted.items()
    }


def test_nothing_in_a_bundle_names_this_machine(quickstart: Planned, tmp_path: Path) -> None:
    absolute = replace(quickstart.plan, sources={str(ROOT / "samples/quickstart.rag"): "sha256:0"})
    files = Planned(quickstart.application, absolute, ROOT).write(tmp_path / "bundle")
    assert not [name for name, text in files.items() if str(ROOT) in text or str(tmp_path) in text]
    assert read_plan(tmp_path / "bundle/plan.json").sources == {"samples/quickstart.rag": "sha256:0"}


def test_the_same_plan_gives_the_same_bytes(quickstart: Planned, tmp_path: Path) -> None:
    assert quickstart.write(tmp_path / "one") == quickstart.write(tmp_path / "two")


def test_a_late_setting_is_named_and_left_to_the_gateway(late: Planned, tmp_path: Path) -> None:
    assert any(isinstance(value, Env) for engine in late.plan.engines.values() for value in engine.settings.values())
    files = late.write(tmp_path / "bundle")
    gateway = msgspec.json.decode(files["local/processes.json"], type=LocalProcesses).gateway
    assert gateway.late == {"ANSWERS_KEY": "ANSWERS_KEY", "ANSWERS_URL": "ANSWERS_URL"}


def test_the_users_modules_come_along_with_what_they_import(project: Path, tmp_path: Path) -> None:
    files = planned(project / "app.rag", root=project).write(tmp_path / "bundle")
    assert sorted(name for name in files if name.startswith("code/")) == [
        "code/helper.py",
        "code/hippo.py",
        "code/tools/__init__.py",
        "code/tools/inner.py",
    ]


def test_a_module_that_is_not_there_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "hippo.py").unlink()
    with pytest.raises(Rejected) as rejected:
        planned(project / "app.rag", root=project).write(tmp_path / "bundle")
    (found,) = rejected.value.found
    assert (found.code, found.message) == ("E0904", "there is no module `hippo` in `.`")
    assert found.span is not None
    assert found.span.source.text[found.span.start : found.span.end].startswith('"hippo:')
    assert not (tmp_path / "bundle").exists()


def test_a_module_that_leads_out_of_the_project_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("secret = 1\n")
    (project / "helper.py").unlink()
    (project / "helper.py").symlink_to(tmp_path / "outside.py")
    said = refused(lambda: planned(project / "app.rag", root=project).write(tmp_path / "bundle"))
    assert said == "E0904 `helper.py` leads out of the project"


def test_a_module_that_is_no_python_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "helper.py").write_text("def def\n")
    said = refused(lambda: planned(project / "app.rag", root=project).write(tmp_path / "bundle"))
    assert said.startswith("E0904 `helper.py` is no Python")


def test_several_hosts_are_refused_by_a_target_of_one(quickstart: Planned, tmp_path: Path) -> None:
    said = refused(lambda: quickstart.on_hosts("a", "b").write(tmp_path / "bundle"))
    assert said.startswith("E0902 the plan uses 2 hosts (`a`, `b`)")
    quickstart.on_hosts("another-name").write(tmp_path / "bundle")


def test_an_unknown_target_is_refused() -> None:
    assert refused(lambda: read_manifest("locl")).startswith("E0903 there is no target `locl`")


def test_a_folder_with_other_files_is_refused(quickstart: Planned, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert refused(lambda: quickstart.write(tmp_path)).startswith("E0901")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert refused(lambda: quickstart.write(tmp_path / "thesis.txt")).startswith("E0901")


def test_compiling_again_keeps_run_and_data_and_removes_what_is_no_longer_emitted(
    quickstart: Planned, project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    planned(project / "app.rag", root=project).write(out)
    for kept in ("run/logs/a.log", "data/milvus/docs.db"):
        (out / kept).parent.mkdir(parents=True)
        (out / kept).write_text("kept")
    files = quickstart.write(out)
    assert files["run/logs/a.log"] == files["data/milvus/docs.db"] == "kept"
    assert not (out / "code").exists()
    listed = msgspec.json.decode(files["bundle.json"], type=Contents).files
    assert {*listed, "bundle.json", "run/logs/a.log", "data/milvus/docs.db"} == files.keys()


def test_a_link_out_of_the_bundle_is_not_followed(quickstart: Planned, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    quickstart.write(out)
    elsewhere.mkdir()
    (out / "local/processes.json").unlink()
    (out / "local").rmdir()
    (out / "local").symlink_to(elsewhere)
    assert "leads out of the bundle" in refused(lambda: quickstart.write(out))
    assert not list(elsewhere.iterdir())


def test_a_full_disk_leaves_an_older_bundle_whole(quickstart: Planned, project: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    before = planned(project / "app.rag", root=project).write(out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        said = refused(lambda: quickstart.write(out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.startswith("E0901")
    assert {name: (out / name).read_text() for name in before} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_cannot_be_made_is_one_finding(quickstart: Planned, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(lambda: quickstart.write(tmp_path / "file/bundle")).startswith("E0901")


def test_values_cannot_break_out_of_markdown() -> None:
    assert markdown("a|b`c\n<d") == "a\\|b'c &lt;d"
