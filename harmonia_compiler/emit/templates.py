"""Text files of a bundle, rendered from the target's templates."""

from collections.abc import Callable
from pathlib import Path, PurePath

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harmonia_compiler.emit.emission import Emission

_SUFFIX = ".j2"


def render_all(target_folder: Path, emission: Emission) -> dict[str, bytes]:
    """Every template of a target, by the path of what it becomes; a value that a template misspells is an error."""
    folder = target_folder / "templates"
    found = sorted(path.relative_to(folder) for path in folder.rglob(f"*{_SUFFIX}"))
    return {path.as_posix().removesuffix(_SUFFIX): _render(folder, path, emission) for path in found}


def _render(folder: Path, path: PurePath, emission: Emission) -> bytes:
    environment = Environment(  # noqa: S701 - no HTML comes out; `finalize` quotes for the language that does
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        finalize=_QUOTING[PurePath(path.name.removesuffix(_SUFFIX)).suffix],
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template(path.as_posix())
    site = {} if emission.site is None else emission.site.document.values
    made = template.render(plan=emission.plan, service=emission.service, replicas=emission.replicas, site=site)
    return made.encode()


def markdown(value: object) -> object:
    """A value as plain words of Markdown: nothing in it can end a table's cell, a code span or a line."""
    if not isinstance(value, str):
        return value
    plain = "".join(char if char.isprintable() else " " for char in value)
    return plain.replace("`", "'").replace("|", "\\|").replace("<", "&lt;")


def nothing(value: object) -> object:
    """For files in whose language nothing is inserted: what they need to know is handed to them when they are used."""
    raise RuntimeError(f"a template inserts {value!r} into a file whose quoting is not known")


#: How inserted values are quoted, by the suffix of the file that is rendered; a Dockerfile has none.
_QUOTING: dict[str, Callable[[object], object]] = {".md": markdown, "": nothing}
