"""What is said of visits that do not hold exactly, by whoever shows them."""

from collections.abc import Iterable


def estimated(pipelines: Iterable[str]) -> str:
    """That the visits of these pipelines are estimates."""
    return f"Visits are estimated for: {', '.join(pipelines)}. There are too many branches for exact probabilities."


def missed_share(source: str, line: int, said: float, found: float) -> str:
    """That the share which stands there is not kept."""
    return f"{source}:{line} says ~ {said:.3g}, and what else is said leaves {found:.3g}."
