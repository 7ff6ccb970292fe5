"""Paths to files and their names, and what is passed over."""

import os
from pathlib import Path

import pytest

from harmonia_compiler.ingest.discover import Tree, discover


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        *("docs/a.md", "docs/sub/b.txt", "docs/sub/C.HTML", "docs/x.py", "docs/.hidden.md", "docs/.git/c.md"),
        *("docs/node_modules/d.md", "docs/env/pyvenv.cfg", "docs/env/e.md", "README.md", "other/README.md"),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


def sources(tree: Tree) -> list[str]:
    return [file.source for file in tree.files]


def codes(tree: Tree) -> list[str]:
    return [finding.code for finding in tree.findings]


def test_documents_of_a_folder_by_their_path_from_the_base(root: Path) -> None:
    tree = discover([root / "docs"], root)
    assert sources(tree) == ["docs/a.md", "docs/sub/C.HTML", "docs/sub/b.txt"]
    assert tree.roots == ("docs",)
    assert codes(tree) == []


def test_outside_the_base_names_begin_with_the_given_folder(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert sources(discover([root / "docs", root / "README.md"], elsewhere)) == [
        "README.md",
        "docs/a.md",
        "docs/sub/C.HTML",
        "docs/sub/b.txt",
    ]


def test_the_base_itself_and_overlapping_paths(root: Path) -> None:
    tree = discover([root, root / "docs", root / "docs" / "a.md"], root)
    assert sources(tree) == ["README.md", "docs/a.md", "docs/sub/C.HTML", "docs/sub/b.txt", "other/README.md"]
    assert tree.covers("anything/at/all.md")


def test_what_the_given_paths_cover(root: Path) -> None:
    tree = discover([root / "docs", root / "README.md"], root)
    assert tree.covers("docs/gone.md")
    assert tree.covers("README.md")
    assert not tree.covers("docs2/a.md")
    assert not tree.covers("README.md.bak")


def test_a_file_that_is_named_is_taken_whatever_its_ending(root: Path) -> None:
    assert sources(discover([root / "docs" / "x.py"], root)) == ["docs/x.py"]


def test_missing_path(root: Path) -> None:
    assert codes(discover([root / "docs", root / "dcos"], root)) == ["E1001"]


def test_a_pipe_is_no_document(root: Path) -> None:
    os.mkfifo(root / "pipe.md")
    assert codes(discover([root / "pipe.md"], root)) == ["E1001"]


def test_nothing_there(root: Path) -> None:
    (root / "empty").mkdir()
    assert codes(discover([root / "empty"], root)) == ["E1002"]


def test_two_documents_of_one_name(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    tree = discover([root / "README.md", root / "other" / "README.md"], tmp_path_factory.mktemp("elsewhere"))
    assert codes(tree) == ["E1005"]


def test_links_and_pipes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.md").write_text("secret")
    docs = root / "docs"
    (docs / "inside.md").symlink_to(docs / "sub" / "b.txt")
    (docs / "leaves.md").symlink_to(outside / "secret.md")
    (docs / "broken.md").symlink_to(docs / "nothing.md")
    (docs / "folder").symlink_to(outside)
    (docs / "loop").symlink_to(docs)
    os.mkfifo(docs / "pipe.md")
    tree = discover([docs], root)
    assert sources(tree) == ["docs/a.md", "docs/inside.md", "docs/sub/C.HTML", "docs/sub/b.txt"]
    assert codes(tree) == ["W1001"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_folder_that_is_closed(root: Path) -> None:
    (root / "docs" / "sub").chmod(0)
    try:
        assert codes(discover([root / "docs"], root)) == ["E1003"]
    finally:
        (root / "docs" / "sub").chmod(0o755)
