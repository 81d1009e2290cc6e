"""The machine's clocks, and a wall clock that is set."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from engine.clock import SystemClock


@dataclass
class Machine:
    """Runs for so many seconds; its wall clock is off by so many."""

    ran: float = 0.0
    off: float = 0.0

    def clock(self) -> SystemClock:
        return SystemClock(lambda: 1000.0 + self.ran + self.off, lambda: self.ran)


@pytest.mark.parametrize(
    ("set_by", "told"),
    [
        pytest.param(0.0, [1010.0, 1020.0, 1030.0, 1040.0], id="never"),
        pytest.param(500.0, [1510.0, 1520.0, 1530.0, 1540.0], id="ahead"),
        pytest.param(-12.0, [1005.0, 1010.0, 1018.0, 1028.0], id="back"),
    ],
)
def test_a_clock_that_is_set_never_goes_back_and_is_right_in_the_end(
    set_by: float, told: list[float]
) -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now() == 1000.0
    machine.off = set_by
    found = []
    for _ in told:
        machine.ran += 10.0
        found.append(clock.now())
    assert found == told


def test_asking_often_makes_it_no_faster() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.now()
    machine.off = -3600.0
    for _ in range(1000):
        machine.ran += 0.1
        clock.now()
    assert clock.now() == pytest.approx(1050.0)
