"""Times as the API writes them: RFC 3339 in UTC, whole seconds (`Time`) or microseconds (`MicroTime`)."""

import re
from datetime import UTC, datetime, timedelta, timezone

from edged.errors import InvalidError

_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_time(seconds: float) -> str:
    """Seconds since 1970 as `2026-08-06T12:00:00Z`; a fraction is cut off."""
    return f"{_EPOCH + timedelta(seconds=seconds // 1):%Y-%m-%dT%H:%M:%SZ}"


def format_micro(seconds: float) -> str:
    """Seconds since 1970 as `2026-08-06T12:00:00.000000Z`."""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}"


def compact_time(seconds: float) -> str:
    """Seconds since 1970 as `20260806T120000Z`, for names of files: they sort as the times do."""
    return f"{_EPOCH + timedelta(seconds=seconds // 1):%Y%m%dT%H%M%SZ}"


def parse_time(text: str) -> float:
    """RFC 3339 as seconds since 1970; InvalidError when it is none. Digits below the microsecond are cut off."""
    if (match := _RFC3339.fullmatch(text)) is None:
        raise InvalidError(f'parsing time "{text[:64]}": it is not like "2006-01-02T15:04:05Z"')
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    micro = int((match[7] or "0").ljust(6, "0")[:6])
    try:
        zone = timezone(_offset(match)) if match[9] else UTC
        moment = datetime(year, month, day, hour, minute, second, micro, tzinfo=zone)
    except ValueError as error:
        raise InvalidError(f'parsing time "{text}": {error}') from None
    return (moment - _EPOCH).total_seconds()


def _offset(match: re.Match[str]) -> timedelta:
    offset = timedelta(hours=int(match[10]), minutes=int(match[11]))
    return -offset if match[9] == "-" else offset
