"""What a report says of the controller of a rehearsal."""

from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import SAID, Reason, Said
from harmonia_compiler.emulate.rehearsal.controlled import decided, idle
from harmonia_compiler.report.document import Decision
from harmonia_compiler.runtime.controller.controller import JOURNAL
from harmonia_compiler.runtime.controller.journal import Journal


def test_what_was_done_is_told_by_the_time_that_is_rehearsed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run" / JOURNAL)
    (tmp_path / "run").mkdir()
    still = Reason("llm", acted=False, why="it carries enough")
    journal.write(Said(1005.0, 0, (still,)), 0.0)
    journal.write(Said(1010.0, 1, (still, Reason("", acted=True, why="`llm-1` 50% → 9%"))), 5.0)
    journal.write(Said(1030.0, 2, (Reason("llm", acted=True, why="1 → 2 replicas"),)), 15.0)
    assert decided(tmp_path, 1000.0, 2.0) == (
        Decision(5000.0, "division of calls", "`llm-1` 50% → 9%"),
        Decision(15_000.0, "llm", "1 → 2 replicas"),
    )


def test_what_was_done_before_the_journal_was_begun_anew_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    journal = Journal(tmp_path / "run" / JOURNAL, most_bytes=800)
    for number in range(8):
        journal.write(Said(float(number), number, (Reason("llm", acted=True, why="x" * 50),)), float(number))
    assert [one.at_ms for one in decided(tmp_path, 0.0, 1.0)] == [1000.0 * number for number in range(8)]
    assert len((tmp_path / "run" / JOURNAL).read_bytes().splitlines()) < 8


def test_a_controller_that_said_nothing_did_nothing(tmp_path: Path) -> None:
    assert decided(tmp_path, 0.0, 1.0) == ()
    assert idle(tmp_path) == ""
    (tmp_path / "run").mkdir()
    reasons = Reason("llm", acted=False, why="stays at 2"), Reason("", acted=False, why="divided as before")
    (tmp_path / "run" / SAID).write_bytes(msgspec.json.encode(Said(0.0, 0, reasons)))
    assert idle(tmp_path) == "The controller's last words: llm: stays at 2; divided as before."
