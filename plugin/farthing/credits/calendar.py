"""Days and months in the organisation's time zone: when an allowance begins and what a day's spending is."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time as an account sees it. ``ms`` and ``month_ends_ms`` are Unix milliseconds."""

    ms: int
    day: str
    """As in 2026-11-24."""
    month: str
    """As in 2026-11."""
    month_ends_ms: int


class Calendar:
    """Turns Unix milliseconds into moments of one IANA time zone. Raises ValueError for an unknown zone."""

    def __init__(self, time_zone: str = "UTC") -> None:
        try:
            self._zone: tzinfo = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{time_zone!r} is not an IANA time zone such as Europe/Berlin") from None
        self._today = (0, 0, Moment(0, "", "", 0))

    def at(self, ms: int) -> Moment:
        """Return the moment at ``ms``."""
        begins, ends, moment = self._today
        if not begins <= ms < ends:
            begins, ends, moment = self._today = self._day(ms)
        return Moment(ms, moment.day, moment.month, moment.month_ends_ms)

    def _day(self, ms: int) -> tuple[int, int, Moment]:
        local = datetime.fromtimestamp(ms / 1000, self._zone)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0)
        month = f"{day:%Y-%m}"
        moment = Moment(ms, f"{day:%Y-%m-%d}", month, self.begins_ms(next_month(month)))
        return _ms(day), _ms(_midnight(day + timedelta(days=1))), moment

    def begins_ms(self, month: str) -> int:
        """Return when a month (``YYYY-MM``) begins. Raises ValueError if it is none."""
        return _ms(datetime.strptime(month, "%Y-%m").replace(tzinfo=self._zone))

    def ends_ms(self, day: date) -> int:
        """Return when ``day`` is over."""
        return _ms(datetime.combine(day + timedelta(days=1), time(), self._zone))


def _midnight(day: datetime) -> datetime:
    # Wall-clock arithmetic: with summer time a day has 23 or 25 hours.
    return day.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def next_month(month: str) -> str:
    """Return the month after ``month``: 2027-01 after 2026-12."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"
