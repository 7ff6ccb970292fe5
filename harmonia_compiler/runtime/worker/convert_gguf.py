"""Turns a GGUF file into a folder of safetensors weights and a tokenizer, which vLLM and transformers load.

    python -m harmonia_compiler.runtime.worker.convert_gguf MODEL.gguf OUT

The weights are dequantised to bfloat16: what quantising lost stays lost, nothing more is.
"""

import functools
import shutil
import sys
import tempfile
from pathlib import Path

import gguf as library
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

_ARGUMENTS = 3

# transformers reads the file for the tokenizer, for the configuration and for the weights, and makes the table of names
# anew for every module: both only read, and are a third of the time.
for _name in ("GGUFReader", "get_tensor_name_map"):
    setattr(library, _name, functools.cache(getattr(library, _name)))


def convert(gguf: Path, out: Path) -> None:
    """Writes the model of a GGUF file as the folder `out`, which appears complete or not at all.

    Raises ValueError where the file carries no chat template, for then no chat route could serve it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        place = {"gguf_file": gguf.name, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **place)
        if not tokenizer.chat_template:
            raise ValueError(f"{gguf.name} carries no chat template")
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True), **place
        )
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        scratch.chmod(0o755)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) != _ARGUMENTS:
        sys.exit("usage: python -m harmonia_compiler.runtime.worker.convert_gguf MODEL.gguf OUT")
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
