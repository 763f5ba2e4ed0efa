"""How long ago, in the few characters that kubectl spends on it (k8s.io/apimachinery duration.HumanDuration)."""

from edged.errors import InvalidError
from edged.model.times import parse_time

UNKNOWN = "<unknown>"
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


def seconds_since(text: str | None, now: float) -> float | None:
    """Seconds from an RFC 3339 time to `now` (seconds since 1970), or None when the text is no time."""
    if not text:
        return None
    try:
        return now - parse_time(text)
    except InvalidError:
        return None


def age(text: str | None, now: float) -> str:
    """The age of an RFC 3339 time: `5s`, `2m10s`, `3h`, `4d2h`."""
    seconds = seconds_since(text, now)
    return UNKNOWN if seconds is None else duration(seconds)


def duration(seconds: float) -> str:
    """A length of time with one or two units, the fewer the longer it is. A time slightly in the future is `0s`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    for limit, unit, part, names in _SCALE:
        if whole < limit:
            count, rest = divmod(max(whole, 0), unit)
            small = rest // part if part else 0
            return f"{count}{names[0]}{small}{names[1]}" if small else f"{count}{names[0]}"
    return f"{whole // YEAR}y"


_SCALE = (
    (2 * MINUTE, 1, 0, "s"),
    (10 * MINUTE, MINUTE, 1, "ms"),
    (3 * HOUR, MINUTE, 0, "m"),
    (8 * HOUR, HOUR, MINUTE, "hm"),
    (2 * DAY, HOUR, 0, "h"),
    (8 * DAY, DAY, HOUR, "dh"),
    (2 * YEAR, DAY, 0, "d"),
    (8 * YEAR, YEAR, DAY, "yd"),
)
