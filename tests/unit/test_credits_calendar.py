"""Days and months as people of a time zone see them, summer time and all."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.credits.calendar import Calendar, next_month

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # summer time of half an hour
    "America/Havana",  # the clock goes back from 1:00 to 0:00: midnight comes twice
    "Africa/Cairo",  # the clock goes forward from 0:00 to 1:00: midnight does not come
    "Pacific/Apia",  # a day of 2011 was left out
    "Pacific/Kiritimati",
]


def ms(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def test_a_moment_has_the_day_and_month_of_its_zone():
    just_before_midnight = ms("2026-11-30T22:59:59.999")
    berlin, utc = Calendar("Europe/Berlin"), Calendar()
    assert berlin.at(just_before_midnight).day == "2026-11-30"
    in_december = berlin.at(just_before_midnight + 1)
    assert (in_december.day, in_december.month) == ("2026-12-01", "2026-12")
    assert in_december.ms == just_before_midnight + 1
    assert in_december.month_ends_ms == ms("2026-12-31T23:00")
    still_november = utc.at(just_before_midnight + 1)
    assert (still_november.day, still_november.month) == ("2026-11-30", "2026-11")
    assert still_november.month_ends_ms == ms("2026-12-01T00:00")


def test_a_month_with_summer_time_ends_by_the_clock_on_the_wall():
    berlin = Calendar("Europe/Berlin")
    assert berlin.begins_ms("2026-04") - berlin.begins_ms("2026-03") == (31 * 24 - 1) * 3_600_000
    assert berlin.begins_ms("2026-11") - berlin.begins_ms("2026-10") == (31 * 24 + 1) * 3_600_000


def test_both_hours_of_the_night_the_clock_goes_back_are_the_same_day():
    berlin = Calendar("Europe/Berlin")
    first, second = ms("2026-10-25T00:30"), ms("2026-10-25T01:30")  # both are 02:30 in Berlin
    assert berlin.at(first).day == berlin.at(second).day == "2026-10-25"
    assert berlin.at(ms("2026-10-25T22:59")).day == "2026-10-25"
    assert berlin.at(ms("2026-10-25T23:00")).day == "2026-10-26"


def test_a_month_that_begins_with_the_midnight_that_comes_twice_begins_at_the_first():
    havana = Calendar("America/Havana")
    first_midnight = ms("2026-11-01T04:00")
    assert havana.begins_ms("2026-11") == first_midnight
    assert havana.at(first_midnight - 1).month == "2026-10"
    for later in (0, 3_600_000, 7_200_000):
        assert havana.at(first_midnight + later).month == "2026-11"


@given(
    zone=st.sampled_from(ZONES),
    instant=st.datetimes(datetime(1975, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    step=st.sampled_from([0, 1, 1_799_999, 3_600_000, 5_400_000, 86_400_000, 40 * 86_400_000]),
)
def test_any_moment_agrees_with_the_zone_and_lies_within_its_month(zone, instant, step):
    calendar = Calendar(zone)
    at = round(instant.timestamp() * 1000)
    for asked in (at, at + step, at):  # the calendar remembers a day: going back and forth must not matter
        moment = calendar.at(asked)
        local = datetime.fromtimestamp(asked / 1000, ZoneInfo(zone))
        assert (moment.ms, moment.day, moment.month) == (asked, f"{local:%Y-%m-%d}", f"{local:%Y-%m}")
        assert calendar.begins_ms(moment.month) <= asked < moment.month_ends_ms
        assert calendar.begins_ms(next_month(moment.month)) == moment.month_ends_ms


@pytest.mark.parametrize("zone", ZONES)
def test_every_hour_of_two_years_falls_on_one_day_after_another(zone):
    calendar, seen = Calendar(zone), []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for half_hour in range(2 * 365 * 48):
        day = calendar.at(round((start + timedelta(minutes=30 * half_hour)).timestamp() * 1000)).day
        if not seen or day != seen[-1]:
            seen.append(day)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "europe", "UTC+25", "/usr"])
def test_an_unknown_zone_is_named(name):
    with pytest.raises(ValueError, match="IANA time zone"):
        Calendar(name)


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-00", "11-2026", "2026-11-01"])
def test_a_month_that_is_none_is_refused(month):
    with pytest.raises(ValueError, match=r"match format|unconverted"):
        Calendar().begins_ms(month)


def test_the_month_after_december_is_january():
    assert [next_month(month) for month in ("2026-11", "2026-12", "2027-01")] == [
        "2026-12",
        "2027-01",
        "2027-02",
    ]


def test_a_day_is_over_at_the_next_midnight_of_its_zone():
    assert Calendar().ends_ms(date(2026, 12, 31)) == ms("2027-01-01T00:00")
    berlin = Calendar("Europe/Berlin")
    assert berlin.ends_ms(date(2026, 3, 29)) == ms("2026-03-29T22:00")  # 23 hours long
    assert Calendar("Africa/Cairo").ends_ms(date(2026, 4, 23)) == ms("2026-04-23T22:00")
