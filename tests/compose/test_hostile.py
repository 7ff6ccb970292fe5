"""Texts that mean something to YAML, to Compose, to a shell or to a terminal come through as texts, or are refused."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.compose import COMPOSE
from harmonia_compiler.emit import yaml_text
from harmonia_compiler.emit.emission import Emission, make_emission
from harmonia_compiler.emit.targets import compose
from harmonia_compiler.emit.targets.compose_text import Variable, rendered, replaced
from tests.compose.conftest import compose_config
from tests.emit.conftest import Planned, planned

HOSTILE = (
    "a\nprivileged: true",
    "a\r\n    privileged: true\n",
    "$(touch /tmp/x)",
    "${HOME}",
    "$HOME $$HOME $",
    "${HARMONIA_USER:-x}",
    "`id`",
    "../../etc/passwd",
    "!!python/object/apply:os.system [id]",
    "&a [*a, *a]",
    "#SBATCH --wrap=x",
    "--privileged",
    "- item: {a: b}",
    "'\"\\",
    "\u202egnp.exe \u200f\u2066",
    "\u0085\u2028\u2029\ufeff",
    "\U0001f600\x7f\x1b[31m",
    "yes",
    "0o17",
    "1e3",
    "null",
    "~",
    "12:30:45",
    "<<",
    "=",
)


def saying(made: Planned, texts: tuple[str, ...]) -> Emission:
    """What is emitted where an engine is started with these words and with one of them in each variable."""
    emission = make_emission(made.plan, made.application, made.root)
    first, *others = emission.replicas
    environment = {f"TEXT_{number}": text for number, text in enumerate(texts)}
    launch = msgspec.structs.replace(
        first.launch, command=(*first.launch.command, *texts), environment={**first.launch.environment, **environment}
    )
    return replace(emission, replicas=(msgspec.structs.replace(first, launch=launch), *others))


def test_hostile_texts_come_through_as_data(quickstart: Planned) -> None:
    emission = saying(quickstart, HOSTILE)
    files = compose.files(emission)
    assert compose.faults(emission, files) == []
    services = yaml.safe_load(files[COMPOSE])["services"]
    service = services[quickstart.plan.replicas[0].id]
    assert tuple(replaced(word) for word in service["command"][-len(HOSTILE) :]) == HOSTILE
    assert [replaced(service["environment"][f"TEXT_{at}"]) for at in range(len(HOSTILE))] == [*HOSTILE]
    assert not any("privileged" in one for one in services.values())
    assert files[COMPOSE].isascii()


def test_compose_itself_reads_them_so(docker_compose: None, quickstart: Planned, tmp_path: Path) -> None:
    for name, content in compose.files(saying(quickstart, HOSTILE)).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    done = compose_config(tmp_path, COMPOSE)
    assert done.returncode == 0, done.stderr
    service = json.loads(done.stdout)["services"][quickstart.plan.replicas[0].id]
    # What `config` prints can be read again, so that each sign that stands for itself is doubled in it.
    assert [word.replace("$$", "$") for word in service["command"][-len(HOSTILE) :]] == [*HOSTILE]
    found = [service["environment"][f"TEXT_{at}"].replace("$$", "$") for at in range(len(HOSTILE))]
    assert found == [*HOSTILE]


def test_a_prompt_goes_nowhere_near_a_compose_file(tmp_path: Path) -> None:
    source = tmp_path / "app.rag"
    source.write_text(
        'component small = llm("SmolLM2-135M-Instruct")\n'
        'component say(question: text) -> text = small(stop: "${HOME}", "$(id) `id` ../x !!tag Answer: {question}")\n'
        "pipeline app(question: text) -> text {\n    load 1 rps\n    return say(question)\n}\n"
    )
    files = planned(source, root=tmp_path).write(tmp_path / "bundle", "compose")
    assert "$(id) `id` ../x !!tag" in files["service.json"]
    assert [name for name in files if "`id`" in files[name] and not name.endswith(".json")] == []
    assert "${HOME}" not in files["compose.yaml"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_every_text_reads_back(text: str) -> None:
    assert yaml_text.load(yaml_text.dump({"a": [text], text: text})) == {"a": [text], text: text}
    assert replaced(rendered(text)) == text


def test_a_variable_is_a_type_and_no_text() -> None:
    assert rendered([Variable("PORT", "80"), "${PORT:-80}"]) == ["${PORT:-80}", "$${PORT:-80}"]
    assert replaced("127.0.0.1:${PORT:-80}:80") == "127.0.0.1:${PORT}:80"
    with pytest.raises(ValueError, match="neither doubled nor"):
        replaced("$HOME")
