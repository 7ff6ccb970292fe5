"""The profiles that were measured on the user's hardware, one file for each engine and what it ran on."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harmonia_compiler.contract.regular import write_whole
from harmonia_compiler.profile.record import MeasuredProfile, encode, read_profile


def keep(profile: MeasuredProfile, folder: Path) -> Path:
    """Keep a profile for plans, in the place of an earlier one of the same; raises OSError where it cannot."""
    same = msgspec.json.encode((profile.model, is_vllm(profile), profile.machine.processor, profile.ran))
    slug = re.sub(r"[^a-z0-9.]+", "-", profile.model.lower()).strip("-.")[:48]
    path = folder / f"{slug}-{hashlib.sha256(same).hexdigest()[:8]}.json"
    write_whole(path, encode(profile))
    return path


def kept(folder: Path) -> Iterator[MeasuredProfile]:
    """All that are kept, in the order of their names; raises Rejected where one cannot be read."""
    for path in sorted(folder.glob("*.json")):
        yield read_profile(path)


def is_vllm(profile: MeasuredProfile) -> bool:
    """Whether vLLM was measured, and not our own worker or another server."""
    return profile.engine.startswith("vllm")
