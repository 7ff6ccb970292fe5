"""`harmoniac emulate`: the engines of a plan as servers, until it is ended."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from harmonia_compiler.cli.main import run
from tests.cli.one_host import on_one_host
from tests.cli.test_rehearse import HARMONIAC, SOURCE


@pytest.mark.slow
def test_each_replica_answers_by_its_own_route_and_none_is_left_at_the_end(tmp_path: Path) -> None:
    files = on_one_host(tmp_path, SOURCE)
    command = [sys.executable, "-P", "-c", HARMONIAC, "emulate", *files, "--format", "json"]
    # Files of the user's beside the pipeline, of names that modules have which are imported.
    for name in ("queue", "html", "harmonia_compiler"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path
    ) as started:
        assert started.stdout is not None
        replicas = json.loads(started.stdout.readline())["replicas"]
        children = psutil.Process(started.pid).children()
        model = next(one for one in replicas if one["engine"] == "model")
        body = {"messages": [{"role": "user", "content": "why?"}], "max_tokens": 5}
        asked = urllib.request.Request(
            f"http://{model['host']}:{model['port']}/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=20.0) as answer:
            assert 1 <= json.load(answer)["usage"]["completion_tokens"] <= 5
        started.send_signal(signal.SIGTERM)
        assert started.wait(20.0) == 128 + signal.SIGTERM
    _, left = psutil.wait_procs(children, timeout=10.0)
    assert children
    assert not left


@pytest.mark.slow
def test_a_fault_counts_from_the_start_and_people_are_told_where_replicas_listen(tmp_path: Path) -> None:
    files = on_one_host(tmp_path, SOURCE)
    command = [sys.executable, "-c", HARMONIAC, "emulate", *files, "--fault", "answer fail"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as started:
        assert started.stdout is not None
        _, address = started.stdout.readline().split()
        with pytest.raises(urllib.error.HTTPError) as failed:
            urllib.request.urlopen(f"{address}v1/chat/completions", b"{}", timeout=20.0)
        assert failed.value.code == 500
        failed.value.close()
        started.terminate()


def test_a_fault_that_meets_nothing_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emulate", *on_one_host(tmp_path, SOURCE), "--fault", "anwser die"]) == 1
    assert "E1342" in capsys.readouterr().err
