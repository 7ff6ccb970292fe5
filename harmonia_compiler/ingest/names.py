"""The names that documents go by, for people who read an answer's passages.

A document keeps the name under which it came in: what filters and citations say stays true, and
another current folder does not embed everything again. Names are unique in a collection. Where two
documents would go by one, the later is called by more of its path.
"""

from collections.abc import Iterable, Iterator, Mapping

from harmonia_compiler.ingest.discover import Found


def name_all(files: Iterable[Found], known: Mapping[str, str], taken: Iterable[str], *, anew: bool) -> dict[str, str]:
    """The name of each file by its place.

    `known` has the names of documents that are there, by place; `taken` are those of documents that
    stay and are not among the files. With `anew` only the latter are respected.
    """
    files = tuple(files)
    names = {} if anew else {file.place: known[file.place] for file in files if file.place in known}
    used = {*taken, *names.values()}
    for file in files:
        if file.place not in names:
            # The last candidate is the place itself, which nothing else can go by.
            name = next((name for name in _candidates(file) if name not in used), file.place)
            names[file.place] = name
            used.add(name)
    return names


def _candidates(file: Found) -> Iterator[str]:
    """The name, and then with one more folder before it at a time."""
    yield file.name
    parts = file.place.strip("/").split("/")
    for at in range(len(parts) - file.name.count("/") - 2, -1, -1):
        yield "/".join(parts[at:])
