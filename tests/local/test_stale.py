"""A supervisor that is there and does nothing."""

import pytest

from harmonia_compiler.runtime.actuators.supervision import standing

from .conftest import Hand, launch, until


def test_a_service_is_not_said_to_be_up_while_its_supervisor_is_halted(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_STALE_S", 3.0)
    hand.write(one=launch()).up()
    with hand.halted():
        until(lambda: hand.status().is_stale)
        assert not hand.status().ready
    until(lambda: hand.status().ready and not hand.status().notes)
    hand.down()
