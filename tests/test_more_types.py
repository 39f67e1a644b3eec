"""Values beyond JSON: zones, folds, tuples by annotation, keys, addresses, paths, models."""

from __future__ import annotations

import collections
import ipaddress
import typing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from pyfly_session import SessionCodec, SessionEncodingError
from pyfly_session.core.attributes import Attributes
from pyfly_session.core.codec import Raw
from pyfly_session.errors import SessionDecodingError
from tests.support.cases import for_each
from tests.support.types import Log

BERLIN = ZoneInfo("Europe/Berlin")
CODEC = SessionCodec()


def again(value: Any, codec: SessionCodec = CODEC) -> Any:
    return codec.decode(codec.encode("a", value))


class TestTimes:
    @for_each(
        "value",
        [
            datetime(2026, 7, 1, 9, tzinfo=BERLIN),
            datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
            datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
            datetime(2026, 10, 25, 2, 30, fold=1),
            datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2), "X")),
            datetime(2026, 10, 25, tzinfo=UTC),
            datetime(2026, 10, 25, tzinfo=ZoneInfo("UTC")),
            time(9, tzinfo=BERLIN),
            time(2, 30, fold=1),
            time(9, 30),
        ],
    )
    def test_zone_and_fold_come_back(self, value: Any) -> None:
        back = again(value)
        assert (back, back.fold, back.utcoffset()) == (value, value.fold, value.utcoffset())
        if isinstance(value.tzinfo, ZoneInfo):
            assert back.tzinfo is value.tzinfo

    def test_what_has_neither_is_written_as_before(self) -> None:
        assert CODEC.encode("a", datetime(2026, 1, 2, tzinfo=UTC)) == (
            b'{"__pyfly_type__":"datetime","value":"2026-01-02T00:00:00+00:00"}'
        )

    def test_a_zone_that_is_not_known_here_leaves_the_offset(self, caplog: Log) -> None:
        stored = CODEC.encode("a", datetime(2026, 7, 1, 9, tzinfo=BERLIN))
        back = CODEC.decode(stored.replace(b"Europe/Berlin", b"Mars/Olympus"))
        assert back.utcoffset() == timedelta(hours=2)
        assert "Mars/Olympus" in caplog.text

    @for_each("zone", [b'"Mars/Olympus"', b'"../../etc/passwd"', b"5", b"[]"])
    def test_a_forged_zone_loses_the_value_at_most(self, zone: bytes) -> None:
        stored = CODEC.encode("a", time(9, tzinfo=BERLIN)).replace(b'"Europe/Berlin"', zone)
        with pytest.raises(SessionDecodingError):
            CODEC.decode(stored)

    def test_a_time_of_a_zone_without_a_name_is_refused(self) -> None:
        class Odd(tzinfo):
            def utcoffset(self, when: datetime | None) -> timedelta | None:
                return None if when is None else timedelta(hours=1)

            dst = utcoffset

            def tzname(self, when: datetime | None) -> str:
                return "odd"

        with pytest.raises(SessionEncodingError, match=r"Odd, cannot be stored; use zoneinfo"):
            CODEC.encode("a", time(9, tzinfo=Odd()))


class Spot(typing.NamedTuple):
    x: int
    at: tuple[int, ...] = ()


Pair = tuple[int, int]


@dataclass
class Trip:
    plain: tuple[int, int]
    maybe: tuple[int, int] | None = None
    either: typing.Union[int, tuple[int, ...]] = 0  # noqa: UP007 - the older spelling
    spots: list[Spot] = field(default_factory=list)
    named: dict[str, Pair] = field(default_factory=dict)
    deep: tuple[list[Pair], dict[str, tuple[Pair, ...]]] = field(default_factory=lambda: ([], {}))
    noted: typing.Annotated[Pair | None, "a note"] = None
    rows: list[list[int]] = field(default_factory=list)
    first: list[int] | tuple[int, ...] = field(default_factory=list)
    texts: tuple[str, ...] | str = ""


@dataclass
class Lost:
    hint: NotThere  # type: ignore[name-defined]  # noqa: F821


class TestTuples:
    codec = SessionCodec([Trip])

    def test_a_tuple_anywhere_in_an_annotation_comes_back_as_one(self) -> None:
        trip = Trip(
            plain=(1, 2), maybe=(3, 4), either=(5,), spots=[Spot(1, (2, 3)), Spot(4)],
            named={"a": (5, 6)}, deep=([(1, 2)], {"x": ((3, 4),)}), noted=(7, 8), rows=[[1]],
            first=[1, 2], texts=("a",),
        )  # fmt: skip
        back = again(trip, self.codec)
        assert back == trip
        assert isinstance(back.spots[0], Spot)
        assert isinstance(back.spots[0].at, tuple)

    def test_what_is_none_stays_as_it_is(self) -> None:
        trip = Trip(plain=(1, 2), texts="a")
        assert again(trip, self.codec) == trip

    def test_a_field_that_another_release_wrote_otherwise_stays_what_it_is(self) -> None:
        stored = self.codec.encode("a", Trip(plain=5))  # type: ignore[arg-type]
        assert self.codec.decode(stored).plain == 5
        longer = Trip((1, 2), spots=[(1, (), "new")])  # type: ignore[list-item]
        assert again(longer, self.codec).spots == [Spot(1)]

    def test_an_annotation_that_cannot_be_read_asks_for_nothing(self) -> None:
        assert again(Lost([1]), SessionCodec([Lost])) == Lost([1])


class Size(Enum):
    SMALL = 1


class Flat(str):
    __slots__ = ()


@for_each(
    "value",
    [
        {7: "seven", "7": "text"}, {Size.SMALL: 1}, {date(2026, 1, 1): [1], 1.5: None, None: 0},
        {(1, (2, 3)): {4: 5}}, {Flat("a"): 1}, {"__pyfly_type__": "set", 3: 4},
        ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1"),
        ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_interface("2001:db8::1/64"), Path("a/b"),
        PurePosixPath("/a b"), PureWindowsPath("c:\\x"), collections.deque([1, {2: 3}], maxlen=4),
        collections.deque(["a"]),
    ],
)  # fmt: skip
def test_it_comes_back_as_it_was(value: Any) -> None:
    back = again(value, SessionCodec([Size]))
    assert back == value
    assert type(back) is type(value)
    if isinstance(value, collections.deque):
        assert back.maxlen == value.maxlen


def test_an_enum_that_is_not_allowed_is_no_key() -> None:
    with pytest.raises(SessionEncodingError, match=r"allow_session_type\(Size\)"):
        CODEC.encode("a", {Size.SMALL: 1})


def test_a_change_of_a_deque_is_found() -> None:
    stored = Raw(CODEC.encode("last", collections.deque([1], maxlen=2)))
    attributes = Attributes(CODEC, {"last": stored})
    attributes.read("last").append(2)
    assert attributes.changed


class Prefs(BaseModel):
    color: str = "white"
    since: date | None = None
    spot: tuple[int, int] = (0, 0)
    extra: dict[str, Any] = {}


class TestModels:
    codec = SessionCodec([Prefs])

    def test_a_model_comes_back_after_one_line(self) -> None:
        prefs = Prefs(color="red", since=date(2026, 1, 2), spot=(1, 2))
        assert again([prefs], self.codec) == [prefs]

    def test_what_looks_like_a_tag_in_it_is_data(self) -> None:
        prefs = Prefs(extra={"__pyfly_type__": "set", "value": [1]})
        assert again(prefs, self.codec) == prefs

    def test_one_that_is_not_valid_any_more_is_lost_alone(self) -> None:
        stored = self.codec.encode("a", Prefs()).replace(b'"white"', b"[]")
        with pytest.raises(SessionDecodingError):
            self.codec.decode(stored)

    def test_a_value_that_a_model_cannot_write_is_named(self) -> None:
        with pytest.raises(SessionEncodingError, match="'a'"):
            self.codec.encode("a", Prefs(extra={"x": object()}))


@for_each("base", [float, int, object])
def test_a_scalar_of_numpy_is_refused_with_a_hint(base: type) -> None:
    """Some of them are floats, and would come back as what they are not."""
    scalar = type("float64", (base,), {"__module__": "numpy"})
    with pytest.raises(SessionEncodingError, match=r"numpy\.float64 cannot be stored; call its it"):
        CODEC.encode("a", [scalar()])
