"""Where Harmonia keeps what is the user's and outlives a project: the model store."""

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
