"""Names are unique and stay, whatever is there already."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.ingest.discover import Found
from harmonia_compiler.ingest.names import name_all

PLACES = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    unique=True,
    max_size=12,
)


def found(place: str, folders: int = 0) -> Found:
    parts = place.strip("/").split("/")
    return Found(Path(place), place, "/".join(parts[-1 - min(folders, len(parts) - 1) :]))


@settings(deadline=None)
@given(PLACES, PLACES, st.integers(0, 3), st.booleans())
def test_names_are_unique_end_their_places_and_stay(
    before: list[str],
    now: list[str],
    folders: int,
    anew: bool,  # noqa: FBT001
) -> None:
    known = name_all(map(found, before), {}, (), anew=False)
    staying = {place: name for place, name in known.items() if place not in now}
    names = name_all([found(place, folders) for place in now], known, staying.values(), anew=anew)
    assert set(names) == set(now)
    assert len({*names.values(), *staying.values()}) == len(names) + len(staying)
    assert all(place.endswith(name) for place, name in names.items())
    if not anew:
        assert all(names[place] == known[place] for place in now if place in known)
    assert name_all([found(place) for place in now], {**known, **names}, staying.values(), anew=False) == names


def test_more_of_the_path_until_it_is_unique() -> None:
    taken = ["x.md", "docs/x.md"]
    assert name_all([found("/srv/b/docs/x.md")], {}, taken, anew=False) == {"/srv/b/docs/x.md": "b/docs/x.md"}
    taken += ["b/docs/x.md", "srv/b/docs/x.md"]
    assert name_all([found("/srv/b/docs/x.md")], {}, taken, anew=False) == {"/srv/b/docs/x.md": "/srv/b/docs/x.md"}
