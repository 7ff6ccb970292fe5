"""Turns a GGUF file into a directory of safetensors weights and a tokenizer, which vLLM and transformers load offline.

    python tools/convert_gguf.py MODEL.gguf OUT_DIR

The weights are dequantised to bfloat16: what the quantisation lost stays lost, nothing more is.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert(gguf: Path, out: Path) -> None:
    """Writes `gguf` as a model directory at `out`.

    `out` appears complete or not at all: the work is done beside it and renamed at the end. A directory that another
    process finished in the meantime is left as it is.

    Raises ValueError where the file carries no chat template, for then no chat route could serve it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
        if not tokenizer.chat_template:
            raise ValueError(f"{gguf.name} carries no chat template")
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            local_files_only=True,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        try:
            scratch.rename(out)
        except OSError:
            if not (out / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: convert_gguf.py MODEL.gguf OUT_DIR")
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
