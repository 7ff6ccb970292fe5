"""How many random examples a property takes."""

from hypothesis import settings


def examples(count: int) -> settings:
    """So many by `make fuzz`; a fifth of them by `make test`, which takes the same ones each time and has a minute."""
    profile = settings.default
    assert profile is not None
    return settings(deadline=None, max_examples=max(10, count // 5) if profile.derandomize else count)
