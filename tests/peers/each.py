"""The pipelines, for tests that take one after the other; those that are planned in some seconds are slow."""

import pytest

from bench.pipelines import NAMES

EACH = [pytest.param(name, marks=pytest.mark.slow if name in {"adaptive", "self_rag"} else ()) for name in NAMES]
