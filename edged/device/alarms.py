"""Limits of a property and what happens when they are passed: alarms with hysteresis and delay (pure).

An alarm is *raised* when its limit was passed for `delay_s` without a break, and *cleared* when the value came back by its
hysteresis. Time comes in as an argument, `now` in monotonic seconds.
"""

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from edged.model.devices import AlarmLimit
from edged.model.values import BOOLEANS, Value, to_text

ABOVE, BELOW, EQUALS, RISING, FALLING = KINDS = ("above", "below", "equals", "rising", "falling")
RATES = (RISING, FALLING)
MINUTE_S = Decimal(60)


class Limit(NamedTuple):
    """When an alarm is raised.

    `kind` is one of KINDS: the value is above or below `limit`, rises or falls by more than `limit` a minute, or is equal
    to it (a BOOLEAN's true is 1). `hysteresis` is how far back it must come, in the unit of `limit`.
    """

    name: str
    kind: str
    limit: Decimal
    hysteresis: Decimal = Decimal(0)
    delay_s: float = 0.0
    severity: str = "warning"


def limit_of(alarm: AlarmLimit) -> Limit:
    """An alarm as the model says it, once `edged.model.rules` found nothing wrong with it. ValueError: that was not so."""
    given = [(kind, text) for kind in KINDS if (text := getattr(alarm, kind))]
    try:
        (kind, text), *_ = given
        limit = Decimal(BOOLEANS[text]) if text in BOOLEANS else Decimal(text)
        return Limit(alarm.name, kind, limit, Decimal(alarm.hysteresis or 0), alarm.delay_seconds, alarm.severity)
    except (ValueError, InvalidOperation) as error:
        raise ValueError(f'"{alarm.name}" has no limit that is a number') from error


class Turn(NamedTuple):
    """An alarm was raised (`on`) or cleared. `measured` is what was compared with its limit; `words` say both."""

    limit: Limit
    on: bool
    measured: Decimal
    words: str


# Takes an alarm that turned: of which device (namespace, name), of which property. It neither waits nor fails.
TakeAlarm = Callable[[str, str, str, Turn], None]


class Alarm:
    """One alarm of one property."""

    def __init__(self, limit: Limit, raised: bool = False, words: str = "") -> None:
        """`raised`, `words`: as it was said before this process began. It is said no second time."""
        self.limit, self.raised, self.words = limit, raised, words
        self._measured = Decimal(0)
        self.knows = False  # of any value
        self.due = math.inf  # when a limit that is passed now has been for long enough
        self._last: tuple[Decimal, float] | None = None

    def take(self, value: Value, now: float) -> Turn | None:
        """A value was read."""
        self.knows = True
        measured = self._measure(value, now)
        if measured is None:
            return None
        self._measured = measured
        if self._passed(measured, self.raised):
            if not self.raised and self.due == math.inf:
                self.due = now + self.limit.delay_s
            return self.settle(now)
        self.due = math.inf
        return self._turn(on=False) if self.raised else None

    def settle(self, now: float) -> Turn | None:
        """A delay may be over, without a new value."""
        if now < self.due:
            return None
        self.due = math.inf
        return self._turn(on=True)

    def _turn(self, *, on: bool) -> Turn:
        self.raised, self.words = on, self._said()
        return Turn(self.limit, on, self._measured, self.words)

    def _measure(self, value: Value, now: float) -> Decimal | None:
        """What is compared with the limit: the value, or how much it changes a minute. None: there is nothing to say yet."""
        number = Decimal(value) if isinstance(value, bool) else value
        if not isinstance(number, Decimal):
            return None
        if self.limit.kind not in RATES:
            return number
        before, self._last = self._last, (number, now)
        if before is None or now <= before[1]:
            return None
        rate = (number - before[0]) * MINUTE_S / Decimal(repr(now - before[1]))
        return rate if self.limit.kind == RISING else -rate

    def _passed(self, measured: Decimal, raised: bool) -> bool:
        _, kind, limit, hysteresis, *_ = self.limit
        back = hysteresis if raised else Decimal(0)
        if kind == EQUALS:
            return measured == limit
        return measured < limit + back if kind == BELOW else measured > limit - back

    def _said(self) -> str:
        measured, kind, limit = self._measured, self.limit.kind, to_text(self.limit.limit)
        if kind == EQUALS:
            return f"is {to_text(measured)}, the alarm is {limit}"
        if kind in RATES:
            return f"is {kind} by {to_text(round(measured, 6))} a minute, the limit is {limit}"
        return f"is {to_text(measured)}, the limit is {kind} {limit}"
