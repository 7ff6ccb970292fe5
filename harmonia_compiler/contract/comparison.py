"""The comparisons of the language, and what each means: for whoever executes them, and for whoever reads them."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
