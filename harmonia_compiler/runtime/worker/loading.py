"""Loads a model's weights into memory of this process's own.

transformers maps safetensors: what it gives are the bytes of the file, so that a running worker would answer by
whatever somebody writes there later, and end with SIGBUS where the file is cut.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import torch


def loaded(loader: Any, folder: Path, *, device: str, dtype: Any) -> Any:
    """The model in a folder by one of transformers' auto classes, on a device, ready to answer and never to learn."""
    model = loader.from_pretrained(folder, local_files_only=True, dtype=dtype).to(device).eval()
    if device == "cpu":
        with torch.no_grad():
            # One at a time, so that not all of it is there twice; what layers share they share still.
            for tensor in chain(model.parameters(), model.buffers()):
                tensor.data = tensor.data.clone()
    return model
