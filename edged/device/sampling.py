"""Which of the values that were read are worth a reading: report strategies (pure).

A strategy of a property is one of three: `OnChange` (the default) every value that differs from the last reading by more
than the deadband, `OnPeriod` one value every `reportCycle`, changed or not, `OnChangeOrPeriod` both.
"""

import math
from decimal import Decimal
from typing import NamedTuple

from edged.model.rules.devices import STRATEGIES
from edged.model.values import Value

ON_CHANGE, ON_PERIOD, ON_CHANGE_OR_PERIOD = STRATEGIES
EARLY = 0.5  # of a period: a value read so little before its time is the value of that time, not one period late


class Strategy(NamedTuple):
    """When a value becomes a reading. `deadband` is in the property's own unit, `period_s` its reportCycle."""

    kind: str = ON_CHANGE
    period_s: float = 1.0
    deadband: Decimal = Decimal(0)


class Sampler:
    """Chooses the readings of one property. `now` is monotonic seconds, `cycle_s` how often it is read."""

    def __init__(self, strategy: Strategy, cycle_s: float) -> None:
        self.strategy, self._cycle_s = strategy, cycle_s
        self._last: Value | None = None
        self._next = -math.inf  # when a period ends
        self._every_change = strategy.kind == ON_CHANGE and not strategy.deadband

    def take(self, value: Value, now: float) -> bool:
        """Whether this value, read now, is a reading."""
        if self._every_change:  # most are
            last, self._last = self._last, value
            return value != last
        kind, period_s, _ = self.strategy
        if kind == ON_CHANGE:
            changed = self._changed(value)
            if changed:
                self._last = value
            return changed
        due = now >= self._next - min(self._cycle_s, period_s) * EARLY
        if not due and (kind == ON_PERIOD or not self._changed(value)):
            return False
        in_phase = due and now - self._next < period_s
        self._next = (self._next if in_phase else now) + period_s
        self._last = value
        return True

    def _changed(self, value: Value) -> bool:
        last, deadband = self._last, self.strategy.deadband
        if deadband and isinstance(value, Decimal) and isinstance(last, Decimal):
            return abs(value - last) > deadband
        return value != last
