"""Puts a gateway over emulated engines under GuideLLM: `python -m tests.gateway.under_guidellm PROGRAM FOLDER [alone]`.

A process of its own, so that it can be started where there is no network: with `alone` it sees that no other host can
be reached, and needs a network namespace of its own for it (`unshare --map-root-user --net`). GuideLLM's report is left
in the folder.
"""

import asyncio
import errno
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.emulate.servers.document import Rehearsal
from harmonia_compiler.emulate.servers.host import Host as Replicas
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan
from tests.gateway.fakes import serving

REQUESTS, PROMPT_TOKENS, ANSWER_TOKENS = 12, 40, 24
SOURCE = """
component walk(question: text) -> [text] ~ 3 = python("code:walk", takes: 5 ms)
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text, found: [text]) -> text = model("{found} {question}", max_tokens: 60)

pipeline ask(question: text ~ 20 tokens) -> text {
    load 1 rps
    return stream answer(question, walk(question))
}
"""
#: From <linux/sockios.h> and <linux/if.h>.
_SET_FLAGS, _UP = 0x8914, 0x1


def planned(folder: Path) -> Scenario:
    """The pipeline with a plan for one GPU."""
    path = folder / "ask.rag"
    path.write_text(SOURCE)
    checked = check_files([path], {})
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    inventory = Inventory((Host("one", 16, 64.0, (Gpu("l40s", 1),)),))
    return scenario(application, inventory, make_plan(application, inventory), seed=3)


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of single bytes, with which GuideLLM makes up its prompts."""
    made = Tokenizer(models.BPE({byte: at for at, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


def be_alone() -> None:
    """Starts the loopback interface of a new network namespace, and sees that nothing else is there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP))
        assert any_socket.connect_ex(("192.0.2.1", 80)) == errno.ENETUNREACH


def command(guidellm: Path, folder: Path, port: int) -> list[str]:
    """GuideLLM as its users start it."""
    return [
        str(guidellm),
        "run",
        *("--backend", f"kind=openai_http,target=http://127.0.0.1:{port}"),
        *("--tokenizer", f"kind=huggingface_auto,model={folder / 'tokenizer'}"),
        *("--data", f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={ANSWER_TOKENS}"),
        *("--profile", "kind=concurrent,streams=3"),
        *("--constraint", f"kind=max_requests,count={REQUESTS}"),
        *("--output", f"kind=json,path={folder / 'report.json'}"),
        "--disable-console-interactive",
    ]


async def main(guidellm: Path, folder: Path) -> int:
    write_tokenizer(folder / "tokenizer")
    tried = planned(folder)
    replicas = Replicas(
        Rehearsal(tried.service, tried.plan.replicas, dict(tried.behaviour.outcomes), 3, 1.0, {}, ()), load_cards()
    )
    endpoints = await replicas.start()
    try:
        async with serving(dict(tried.service.programs), list(endpoints), engines=tried.service.engines) as served:
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
            process = await asyncio.create_subprocess_exec(
                *command(guidellm, folder, served.port), env=environment, cwd=folder
            )
            return await process.wait()
    finally:
        await replicas.stop()


if __name__ == "__main__":
    if "alone" in sys.argv[3:]:
        be_alone()
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
