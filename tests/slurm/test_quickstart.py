"""The quickstart, with its real engines, as a job over two nodes of a real Slurm; weights from the nodes' own disk."""

import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from .cluster import Cluster
from .service import gateway

pytestmark = [pytest.mark.slurm, pytest.mark.engines]

ROOT = Path(__file__).parents[2]


def harmoniac(*words: str | Path) -> str:
    """Run a command and give what it prints."""
    program = Path(sys.executable).with_name("harmoniac")
    done = subprocess.run([program, *words], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_runs_across_nodes_and_answers(cluster: Cluster, tmp_path: Path) -> None:
    hosts, bundle = tmp_path / "hosts.toml", tmp_path / "bundle"
    hosts.write_text('[[hosts]]\nname = "plain[1-2]"\ncpus = 2\nmemory_gib = 12\n')
    site, disk = tmp_path / "site.toml", tmp_path / "disk"
    site.write_text(f'[slurm]\nstage = "{disk}"\n')
    given = ("--inventory", hosts, "--target", "slurm", "--site", site, "--out", bundle)
    harmoniac("compile", "samples/quickstart.rag", *given)
    try:
        assert "ssh -N -L" in harmoniac("up", bundle, "--timeout", "4m")
        assert {state for name, state in cluster.states().items() if name.startswith("plain")} == {"alloc"}
        harmoniac("ingest", "docs/slurm.md", "--component", "search", "--service", bundle)
        asked = [{"role": "user", "content": "Where do engines listen?"}]
        with OpenAI(base_url=f"{gateway(bundle)}/v1", api_key="none") as client:
            answer = client.chat.completions.create(model="quickstart", messages=asked)
        assert answer.choices[0].message.content
        assert sorted(path.name.partition("@")[0] for path in disk.glob("*") if (path / "weights").is_dir()) == [
            "HuggingFaceTB--SmolLM2-135M-Instruct",
            "sentence-transformers--all-MiniLM-L6-v2",
        ]
    finally:
        harmoniac("down", bundle)
    assert not cluster.call("squeue", "--noheader")
