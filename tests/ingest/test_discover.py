"""Paths to files and their names, and what is passed over."""

import os
import socket
from pathlib import Path

import pytest

from harmonia_compiler.ingest.discover import Tree, discover, is_within


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


def names(tree: Tree) -> list[str]:
    return sorted(file.name for file in tree.files)


def codes(tree: Tree) -> list[str]:
    return [finding.code for finding in tree.findings]


def test_documents_of_a_folder_by_their_path_from_the_base(root: Path) -> None:
    tree = discover([root / "docs"], root)
    assert names(tree) == ["docs/a.md", "docs/sub/C.HTML", "docs/sub/b.txt"]
    assert tree.roots == (str(root / "docs"),)
    assert [file.place for file in tree.files] == [
        str(root / "docs" / name) for name in ("a.md", "sub/C.HTML", "sub/b.txt")
    ]
    assert codes(tree) == []


def test_outside_the_base_names_begin_with_the_given_folder(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert names(discover([root / "docs", root / "README.md"], elsewhere)) == [
        "README.md",
        "docs/a.md",
        "docs/sub/C.HTML",
        "docs/sub/b.txt",
    ]


def test_the_base_itself_and_overlapping_paths(root: Path) -> None:
    tree = discover([root, root / "docs", root / "docs" / "a.md"], root)
    assert names(tree) == ["README.md", "docs/a.md", "docs/sub/C.HTML", "docs/sub/b.txt", "other/README.md"]


def test_places_are_the_same_from_everywhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to(root / "docs")
    monkeypatch.chdir(root / "docs")
    trees = [discover([Path(path)]) for path in (".", "../docs", "../link", str(root / "docs"))]
    assert len({tuple(file.place for file in tree.files) for tree in trees}) == 1
    assert {tree.roots for tree in trees} == {(str(root / "docs"),)}


def test_what_lies_within_a_place() -> None:
    assert is_within("/a/docs/x.md", "/a/docs")
    assert is_within("/a/docs", "/a/docs")
    assert is_within("/a/docs", "/")
    assert not is_within("/a/docs2/x.md", "/a/docs")


def test_base_that_is_not_there(root: Path) -> None:
    assert codes(discover([root / "docs"], root / "dcos")) == ["E1001"]


def test_a_file_that_is_named_is_taken_whatever_its_ending(root: Path) -> None:
    assert names(discover([root / "docs" / "x.py"], root)) == ["docs/x.py"]


def test_missing_path(root: Path) -> None:
    assert codes(discover([root / "docs", root / "dcos"], root)) == ["E1001"]


def test_a_pipe_is_no_document(root: Path) -> None:
    os.mkfifo(root / "pipe.md")
    assert codes(discover([root / "pipe.md"], root)) == ["E1001"]


def test_nothing_there(root: Path) -> None:
    (root / "empty").mkdir()
    assert codes(discover([root / "empty"], root)) == ["E1002"]


def test_links_and_pipes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.md").write_text("secret")
    docs = root / "docs"
    (docs / "inside.md").symlink_to(docs / "sub" / "b.txt")
    (docs / "leaves.md").symlink_to(outside / "secret.md")
    (docs / "broken.md").symlink_to(docs / "nothing.md")
    (docs / "folder").symlink_to(outside)
    (docs / "loop").symlink_to(docs)
    (docs / "self.md").symlink_to("self.md")
    os.mkfifo(docs / "pipe.md")
    tree = discover([docs], root)
    assert names(tree) == ["docs/a.md", "docs/inside.md", "docs/sub/C.HTML", "docs/sub/b.txt"]
    assert [(finding.code, finding.message) for finding in tree.findings] == [
        ("W1001", f"`{docs / 'broken.md'}` is a link that leads to no file"),
        ("W1001", f"`{docs / 'leaves.md'}` is a link that leaves `{docs}` and was not followed"),
        ("W1007", f"`{docs / 'pipe.md'}` is a pipe and was passed over"),
        ("W1001", f"`{docs / 'self.md'}` is a link that leads to no file"),
    ]
    assert all(finding.help for finding in tree.findings)


def test_a_socket_is_no_document(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "docs")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s.txt")
        tree = discover([root / "docs"], root)
    assert [finding.message for finding in tree.findings] == [
        f"`{root / 'docs' / 's.txt'}` is a socket and was passed over"
    ]


def test_paths_that_lead_nowhere(root: Path) -> None:
    (root / "self.md").symlink_to("self.md")
    (root / "broken.md").symlink_to("nothing.md")
    for name, said in (("self.md", "leads nowhere"), ("broken.md", "leads nowhere"), ("x" * 300, "too long")):
        (finding,) = discover([root / name]).findings
        assert finding.code == "E1001"
        assert said in finding.message
        assert finding.help


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_folder_that_is_closed(root: Path) -> None:
    (root / "docs" / "sub").chmod(0)
    try:
        tree = discover([root / "docs"], root)
        assert codes(tree) == ["E1003"]
        assert tree.closed == (str(root / "docs" / "sub"),)
    finally:
        (root / "docs" / "sub").chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_files_that_can_be_listed_and_not_seen_are_left_to_their_reader(root: Path) -> None:
    (root / "docs" / "sub").chmod(0o444)
    try:
        tree = discover([root / "docs"], root)
        assert names(tree) == ["docs/a.md", "docs/sub/C.HTML", "docs/sub/b.txt"]
        assert [finding.code for finding in discover([root / "docs" / "sub" / "b.txt"]).findings] == ["E1001"]
    finally:
        (root / "docs" / "sub").chmod(0o755)
