"""Where Harmonia keeps what is the user's and outlives a project: models, measured profiles, and a cache."""

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """`HARMONIA_HOME`, or the platform's folder for a user's data. The folder need not exist."""
    given = os.environ.get("HARMONIA_HOME")
    return Path(given).expanduser() if given else Path(platformdirs.user_data_dir("harmonia", appauthor=False))


def model_store() -> Path:
    """The folder that holds a folder for each stored model."""
    return home() / "models"


def profile_store() -> Path:
    """The folder that holds a file for each engine that was measured on the user's hardware."""
    return home() / "profiles"


def cache() -> Path:
    """Where what can be made again is kept: in `HARMONIA_HOME` too, or in the platform's folder for caches."""
    given = os.environ.get("HARMONIA_HOME")
    return home() / "cache" if given else Path(platformdirs.user_cache_dir("harmonia", appauthor=False))
