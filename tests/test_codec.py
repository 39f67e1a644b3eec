"""The codec: values and their types through JSON and back, and nothing else out of bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import logging
import math
import uuid
from collections import Counter, OrderedDict, UserDict, defaultdict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pyfly_session import SessionCodec, SessionEncodingError, allow_session_type
from pyfly_session.core.codec import DEFAULT_CODEC
from pyfly_session.core.type_tags import TYPE_KEY, TypeRegistry
from pyfly_session.errors import SessionDecodingError
from tests.support.cases import for_each
from tests.support.types import Log

# The same examples on every run: a failure can be had again.
fixed = settings(deadline=None, derandomize=True, max_examples=60)


class Color(enum.Enum):
    RED = 1
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1


class Kind(enum.StrEnum):
    ADMIN = "admin"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass
class Context:
    """What a login leaves in the session, as the original's."""

    user_id: str | None = None
    roles: tuple[str, ...] = ()
    permissions: list[str] = dataclasses.field(default_factory=list)
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    point: Point | None = None
    derived: int = dataclasses.field(default=0, init=False)


@dataclasses.dataclass
class Unresolvable:
    pair: NowhereDefined = ()  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass
class Strict:
    number: int

    def __post_init__(self) -> None:
        if type(self.number) is not int:
            raise TypeError("a number is needed")


ALLOWED = [Color, Level, Kind, Right, Point, Context, Unresolvable, Strict]
CODEC = SessionCodec(types=ALLOWED)
BUILT_IN = (
    *(str, int, float, bool, type(None), list, dict),
    *(datetime, date, time, timedelta, uuid.UUID, Decimal, bytes, set, frozenset),
)


def round_trip(value: Any) -> Any:
    return CODEC.decode(CODEC.encode("x", value))


def same(a: Any, b: Any) -> bool:
    """Compare values, their types and NaN, at every depth."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a.hex() == b.hex() if math.isfinite(a) else repr(a) == repr(b)
    if isinstance(a, Decimal | datetime | time):
        return repr(str(a)) == repr(str(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if dataclasses.is_dataclass(a):
        return all(
            same(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a)
        )
    if isinstance(a, set | frozenset):
        return bool(a == b) and Counter(map(type, a)) == Counter(map(type, b))
    return bool(a == b)


def types_in(value: Any) -> set[type]:
    found = {type(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts: list[Any] = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    else:
        parts = []
    return found.union(*map(types_in, parts))


any_text = st.text(st.characters(exclude_categories=()), max_size=8)
integers = st.integers() | st.integers(min_value=-(2**200), max_value=2**200)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_scalars = st.none() | st.booleans() | integers | any_text | finite
plain_json = st.recursive(
    json_scalars,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(any_text, parts, max_size=4),
    max_leaves=12,
)
tags = st.sampled_from(
    [
        *("dict", "set", "frozenset", "float", "datetime", "date", "time", "timedelta"),
        *("UUID", "Decimal", "bytes", "str", "object", "builtins:eval", "os:system"),
        *(f"{cls.__module__}:{cls.__qualname__}" for cls in ALLOWED),
        "pyfly.security.context:SecurityContext",
    ]
)
field_names = st.sampled_from(["value", "name", "x", "y", "user_id", "roles", "number", "derived"])
forged = st.recursive(
    json_scalars,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(field_names | any_text, parts, max_size=3)
        | st.builds(
            lambda tag, fields: {TYPE_KEY: tag, **fields},
            tags | json_scalars | parts,
            st.dictionaries(field_names, parts, max_size=2),
        )
        | st.builds(
            lambda pairs: {TYPE_KEY: "dict", "value": pairs},
            st.lists(st.lists(parts, min_size=2, max_size=2), max_size=2),
        )
    ),
    max_leaves=10,
)
offsets = st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23)).map(
    lambda delta: timezone(timedelta(seconds=int(delta.total_seconds())))
)


def unfolded(value: Any) -> Any:
    """ISO 8601 has no word for the second of two equal wall-clock times."""
    return value.replace(fold=0)


times = st.datetimes() | st.datetimes(timezones=offsets) | st.times() | st.times(timezones=offsets)
members = st.sampled_from([*Color, *Level, *Kind, *Right, Right.READ | Right.WRITE, Right(0)])
hashables = st.one_of(
    st.none(), st.booleans(), integers, any_text, st.floats(), st.binary(max_size=8), members,
    times.map(unfolded), st.dates(), st.timedeltas(), st.uuids(), st.decimals(allow_nan=False),
    st.builds(Point, integers, st.none() | integers), st.frozensets(st.integers(), max_size=3),
)  # fmt: skip
rich = st.recursive(
    hashables | st.sampled_from([Decimal("NaN"), Decimal("-Infinity"), Decimal("1E+5")]),
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.dictionaries(any_text | st.just(TYPE_KEY), parts, max_size=4)
        | st.sets(hashables.filter(lambda value: value == value), max_size=3)
        | st.builds(Point, parts, parts)
        | st.builds(
            Context, any_text, st.lists(any_text, max_size=2).map(tuple),
            st.lists(any_text, max_size=2), st.dictionaries(any_text, parts, max_size=2),
        )
    ),
    max_leaves=8,
)  # fmt: skip


# Round trips


@fixed
@given(rich)
def test_whatever_can_be_encoded_is_strict_json_and_comes_back_as_it_was(value: Any) -> None:
    assert same(round_trip(value), value)
    json.loads(CODEC.encode("x", value), parse_constant=pytest.fail)


@fixed
@given(plain_json)
def test_plain_data_is_written_as_json_knows_it(value: Any) -> None:
    assert same(json.loads(CODEC.encode("x", value)), value)


@fixed
@given(plain_json)
def test_plain_data_of_the_json_module_is_read_as_it_reads_it(value: Any) -> None:
    for source in (json.dumps(value), json.dumps(value, indent=1)):
        assert same(CODEC.decode(source.encode()), json.loads(source))


@fixed
@given(st.dictionaries(any_text, rich, max_size=4))
def test_a_session_comes_back_as_it_was(data: dict[str, Any]) -> None:
    data.pop(TYPE_KEY, None)

    assert same(CODEC.loads(CODEC.dumps(data)), data)


@fixed
@given(st.dictionaries(st.text(max_size=8), rich, max_size=4))
def test_what_nobody_touched_travels_byte_by_byte(data: dict[str, Any]) -> None:
    data.pop(TYPE_KEY, None)
    payload = CODEC.dumps(data)
    assume(b"\\ud" not in payload)
    parts = CODEC.split(payload)

    assert CODEC.join(parts) == payload
    assert CODEC.loads(CODEC.join(dict(parts))).keys() == (data.keys())


def test_every_decoding_gives_a_fresh_object() -> None:
    encoded = CODEC.encode("x", {"a": [1]})

    CODEC.decode(encoded)["a"].append(2)

    assert CODEC.decode(encoded) == {"a": [1]}


@for_each(
    "value",
    [
        datetime(2026, 3, 29, 2, 30, tzinfo=UTC), datetime(1, 1, 1),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        [date(2026, 1, 1), time(23, 59, 59, 999999), time(1, tzinfo=UTC)],
        timedelta(days=-1, seconds=1, microseconds=1),
        {"a": {"b": [uuid.UUID(int=1), {Decimal("0.10")}]}},
        [float("inf"), float("-inf"), -0.0, 5e-324], {(1, (2, "x")), frozenset({(3,)})},
        {Kind.ADMIN, Level.LOW, Color.GREEN}, Right.READ | Right.WRITE, Right(0),
        Point(1, Point(2, {"deep": Color.RED})), 2**64, -(2**63) - 1, 10**4000,
        ["\ud800", 2**70, b"\xff"], {"\ud800": "\udfff"}, {"": {"\x00": ""}},
    ],
)  # fmt: skip
def test_awkward_values_come_back_as_they_were(value: Any) -> None:
    assert same(round_trip(value), value)


def test_tuples_become_lists_but_a_dataclass_knows_its_tuples() -> None:
    assert round_trip((1, (2,))) == [1, [2]]
    assert round_trip(Context(roles=("a", "b"))).roles == ("a", "b")
    assert round_trip(Unresolvable((1,))).pair == [1]


def test_subclasses_of_plain_types_are_stored_as_what_they_extend() -> None:
    class Text(str): ...

    class Number(int): ...

    class Measure(float): ...

    pair = namedtuple("pair", "a b")

    values = [Text("t"), Number(7), Measure(1.5), pair(1, 2), OrderedDict(b=1, a=2)]
    values += [Counter("aab"), defaultdict(list, x=[1]), {Text("key"): 1}, Measure("nan")]

    back = round_trip(values)
    assert repr(back) == repr(
        ["t", 7, 1.5, [1, 2], {"b": 1, "a": 2}, {"a": 2, "b": 1}, {"x": [1]}, {"key": 1}, math.nan]
    )
    assert types_in(back) <= set(BUILT_IN)


def test_the_order_of_a_dictionary_is_kept() -> None:
    assert list(round_trip({"b": 1, "a": 1, TYPE_KEY: 1, "c": 1})) == ["b", "a", TYPE_KEY, "c"]


# What cannot be stored


@for_each(
    ("value", "path", "type_name"),
    [
        (object(), "", "object"),
        ({"items": [1, object()]}, "['items'][1]", "object"),
        ([{"a": {"b": 1j}}], "[0]['a']['b']", "complex"),
        (Point(1, range(3)), "['y']", "range"),
        (bytearray(b"x"), "", "bytearray"), (UserDict(), "", "UserDict"),
        (MappingProxyType({}), "", "mappingproxy"), ({1, 1j}, "", "complex"),
        (len, "", "builtin_function_or_method"), (Point, "", "type"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_named_by_place(value: Any, path: str, type_name: str) -> None:
    with pytest.raises(SessionEncodingError) as caught:
        CODEC.encode("order", value)

    assert (caught.value.attribute, caught.value.path) == ("order", path)
    assert caught.value.type_name == type_name
    assert "'order'" in str(caught.value)


def test_a_dataclass_or_enum_that_was_not_allowed_is_refused_with_advice() -> None:
    @dataclasses.dataclass
    class Unknown:
        x: int = 1

    class Shade(enum.Enum):
        DARK = 1

    class SubPoint(Point): ...

    for value in (Unknown(), Shade.DARK, SubPoint(1), [Unknown()]):
        with pytest.raises(SessionEncodingError, match="allow_session_type"):
            CODEC.encode("x", value)


def test_a_pydantic_model_is_refused_with_the_two_ways_to_store_one() -> None:
    class Cart(BaseModel):
        items: list[str] = []

    name = f"{Cart.__module__}.{Cart.__qualname__}"
    for value, place in ((Cart(), ""), ({"mine": [Cart()]}, " at ['mine'][0]")):
        with pytest.raises(SessionEncodingError) as caught:
            CODEC.encode("cart", value)
        assert str(caught.value) == (
            f"session attribute 'cart'{place}: {name} is not an allowed session type; call"
            " pyfly_session.allow_session_type(Cart) at start-up, or keep it with"
            " pyfly_session.fastapi.Stored"
        )
    assert CODEC.decode(CODEC.encode("cart", Cart().model_dump(mode="json"))) == {"items": []}


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(SessionEncodingError, match="holds itself"):
        CODEC.encode("x", loop)


def test_a_value_nested_too_deeply_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SessionEncodingError, match="too deeply"):
        CODEC.encode("x", deep)
    while deep:  # Taken apart step by step: dropping it at once recurses, too.
        deep = deep.pop()


@for_each("value", [10**5000, [-(10**5000)], ["\ud800", 10**5000]])
def test_a_number_too_long_for_python_to_print_is_refused(value: Any) -> None:
    with pytest.raises(SessionEncodingError, match="'x'"):
        CODEC.encode("x", value)


def test_dumps_names_the_attribute_that_cannot_be_stored() -> None:
    with pytest.raises(SessionEncodingError, match="'bad'"):
        CODEC.dumps({"good": 1, "bad": object()})


# Forgery


@fixed
@given(forged)
def test_no_user_data_forges_a_type(value: Any) -> None:
    assert same(round_trip(value), value)


@fixed
@given(forged)
def test_nothing_but_allowed_types_ever_comes_out_and_may_go_in_again(value: Any) -> None:
    """The bytes say what they like; somebody else wrote them."""
    try:
        back = CODEC.decode(json.dumps(value).encode())
    except SessionDecodingError:
        return
    assert types_in(back) <= {*BUILT_IN, tuple, *ALLOWED}
    CODEC.encode("x", back)


@for_each("tag", ["builtins:eval", "os:system", "decimal:Context", "str", "", "x"])
def test_a_tag_that_is_not_allowed_gives_a_plain_dictionary(tag: str, caplog: Log) -> None:
    source = json.dumps({"a": [{TYPE_KEY: tag, "value": "1"}]}).encode()

    assert CODEC.decode(source) == {"a": [{"value": "1"}]}
    assert "is not allowed" in caplog.text


def test_a_tag_in_other_clothes_is_no_tag() -> None:
    """JSON can spell the key with escapes, which nobody does who means it."""
    assert type(CODEC.decode(b'{"\\u005f_pyfly_type__":"set","value":[1]}')) is dict


def test_a_type_tag_on_the_whole_session_is_dropped() -> None:
    assert CODEC.loads(b'{"__pyfly_type__":"set","value":[1]}') == {"value": [1]}


# Hostile bytes


@fixed
@given(st.binary(max_size=40))
def test_hostile_bytes_raise_nothing_but_the_decoding_error(payload: bytes) -> None:
    for read in (CODEC.loads, CODEC.decode, CODEC.split):
        try:
            read(payload)
        except SessionDecodingError:
            continue


@fixed
@given(st.dictionaries(any_text, forged, max_size=3), st.data())
def test_damaged_sessions_raise_nothing_but_the_decoding_error(
    data: dict[str, Any], chance: st.DataObject
) -> None:
    payload = bytearray(json.dumps(data).encode())
    for _ in range(chance.draw(st.integers(1, 3))):
        at = chance.draw(st.integers(0, len(payload) - 1))
        payload[at : at + chance.draw(st.integers(0, 2))] = chance.draw(st.binary(max_size=2))
        payload = payload or bytearray(b"{")
    try:
        parts = CODEC.split(bytes(payload))
    except SessionDecodingError:
        return
    assert CODEC.split(CODEC.join(parts)).keys() == parts.keys()
    CODEC.loads(bytes(payload))


@for_each(
    "payload",
    [
        b"", b"\x80abc", b"[]", b"null", b"1", b'"text"', b"NaN", b"{", b'{"a"}',
        b'{"a":1}{"b":2}', b'{"a":1,}', b"{'a':1}", b"\x00" * 100, b"\xff\xfe", b'{"a":tru}',
        b"[" * 100_000, b'{"a":' * 100_000, b"gASVDAAAAAAAAACMCGJ1aWx0aW5z",
    ],
)  # fmt: skip
def test_bytes_that_are_no_json_object_are_no_session(payload: bytes) -> None:
    for read in (CODEC.split, CODEC.loads):
        with pytest.raises(SessionDecodingError):
            read(payload)


@for_each("fragment", [b"[" * 100_000 + b"]" * 100_000, b"[1", b"nul", b"\x80"])
def test_a_fragment_that_is_no_json_is_refused(fragment: bytes) -> None:
    with pytest.raises(SessionDecodingError):
        CODEC.decode(fragment)


@for_each("leaf", [b"1", b"NaN", b'"\\ud800"', b'{"__pyfly_type__":"set","value":[]}'])
def test_depth_at_the_edge_raises_nothing_but_the_decoding_error(leaf: bytes) -> None:
    for depth in range(880, 1020, 7):
        payload = b'{"a":' + b"[" * depth + leaf + b"]" * depth + b"}"
        with contextlib.suppress(SessionDecodingError):
            CODEC.join(CODEC.split(payload))
            CODEC.loads(payload)


@for_each(
    ("tag", "fields"),
    [
        ("datetime", {"value": "yesterday"}), ("datetime", {"value": 5}),
        ("set", {"value": [[{}]]}), ("set", {"value": 5}), ("timedelta", {"value": [10**20]}),
        ("bytes", {"value": "not base64!"}), ("UUID", {"value": "x"}), ("Decimal", {"value": "x"}),
        ("float", {"value": "x"}), ("dict", {"value": [[{}, 1]]}), ("dict", {"value": 1}),
        ("dict", {}), (f"{__name__}:Color", {"name": "MAUVE"}), (f"{__name__}:Color", {}),
        (f"{__name__}:Right", {"value": 64}), (f"{__name__}:Point", {}),
        (f"{__name__}:Strict", {"number": "1"}),
    ],
)  # fmt: skip
def test_a_value_not_to_be_rebuilt_is_lost_alone(tag: str, fields: Any, caplog: Log) -> None:
    payload = json.dumps({"lost": {TYPE_KEY: tag, **fields}, "kept": 1}).encode()

    with pytest.raises(SessionDecodingError):
        CODEC.decode(CODEC.split(payload)["lost"])
    assert CODEC.loads(payload) == {"kept": 1}
    assert "'lost'" in caplog.text


def test_a_number_too_long_for_python_to_read_is_lost_alone() -> None:
    assert CODEC.loads(b'{"lost":' + b"9" * 5000 + b',"kept":1}') == {"kept": 1}


# What the original wrote


def test_what_the_json_module_calls_json_is_read_too() -> None:
    payload = json.dumps({"a": math.nan, "b": [math.inf], "c": "\ud800", "d": {"\ud800": 1}})

    data = CODEC.loads(payload.encode())

    assert math.isnan(data.pop("a"))
    assert data == {"b": [math.inf], "c": "\ud800", "d": {"\ud800": 1}}


def test_values_the_strict_decoder_refuses_do_not_harm_their_neighbours() -> None:
    parts = CODEC.split(b'{"\\ud800": NaN, "b": {"x": [1, 2.50]}}')

    assert bytes(parts["b"]) == b'{"x": [1, 2.5]}'
    assert CODEC.loads(CODEC.join(parts)).keys() == {"\ud800", "b"}


def test_a_dataclass_with_inline_fields_is_rebuilt() -> None:
    source = json.dumps(
        {
            TYPE_KEY: f"{Context.__module__}:Context",
            "user_id": "alice", "roles": ["ADMIN"], "permissions": ["read"], "derived": 7,
            "attributes": {"email": "a@example.org", "n": math.nan},
            "point": {TYPE_KEY: f"{Point.__module__}:Point", "x": 1},
        }
    )  # fmt: skip

    context = CODEC.decode(source.encode())

    assert type(context) is Context
    assert (context.user_id, context.roles, context.point) == ("alice", ("ADMIN",), Point(1))
    assert context.derived == 7
    assert math.isnan(context.attributes["n"])


def test_fields_of_a_newer_node_are_ignored_and_missing_ones_take_their_defaults() -> None:
    source = {TYPE_KEY: f"{__name__}:Context", "user_id": "alice", "tenant": "new"}

    assert CODEC.decode(json.dumps(source).encode()) == Context(user_id="alice")


# The allowlist


def test_a_type_can_be_allowed_for_all_codecs_as_a_decorator() -> None:
    @allow_session_type
    @dataclasses.dataclass
    class Shared:
        x: int

    assert SessionCodec().decode(DEFAULT_CODEC.encode("x", Shared(1))) == Shared(1)


def test_a_type_allowed_for_one_codec_is_unknown_to_others(caplog: Log) -> None:
    @dataclasses.dataclass
    class Own:
        x: int

    codec = SessionCodec()
    codec.allow(Own, tag="own")

    assert codec.decode(codec.encode("x", Own(1))) == Own(1)
    assert DEFAULT_CODEC.decode(codec.encode("x", Own(1))) == {"x": 1}
    assert "'own'" in caplog.text
    with pytest.raises(SessionEncodingError):
        DEFAULT_CODEC.encode("x", Own(1))


def test_a_class_that_has_moved_is_read_under_its_former_tag_and_written_under_the_first() -> None:
    codec = SessionCodec()
    codec.allow(Point, tag="shapes:Point")
    codec.allow(Point, tag="old.shapes:Point")

    assert codec.decode(b'{"__pyfly_type__":"old.shapes:Point","x":1}') == Point(1)
    assert b'"shapes:Point"' in codec.encode("x", Point(1))


def test_a_registry_can_be_told_which_tag_to_write() -> None:
    registry = TypeRegistry()
    registry.allow(Point, tag="first")
    registry.write_as(Point, "second")

    assert registry.tag_of(Point) == "second"
    assert registry.type_of("first") is registry.type_of("second") is Point
    assert registry.type_of("third") is None


@for_each("tag", ["dict", "set", "datetime", "float"])
def test_the_tag_of_a_built_in_type_cannot_be_given_to_another(tag: str) -> None:
    with pytest.raises(ValueError, match="built-in"):
        SessionCodec().allow(Point, tag=tag)


@for_each("cls", [object, dict, int, UserDict])
def test_only_a_dataclass_or_an_enum_can_be_allowed(cls: type) -> None:
    with pytest.raises(TypeError, match="only a dataclass, an enum or a pydantic model"):
        SessionCodec(types=[cls])
    with pytest.raises(TypeError):
        allow_session_type(cls)


def test_a_value_of_an_unknown_type_is_logged_shortened(caplog: Log) -> None:
    caplog.set_level(logging.WARNING)
    CODEC.decode(json.dumps({TYPE_KEY: "x" * 10_000}).encode())

    assert len(caplog.text) < 400


def test_a_subclass_of_a_tagged_type_is_stored_as_what_it_extends() -> None:
    class FrozenTime(datetime):
        """What libraries that stop the clock put in the place of datetime."""

    value = DEFAULT_CODEC.decode(DEFAULT_CODEC.encode("at", FrozenTime(2026, 11, 23, 6, 30)))
    assert value == datetime(2026, 11, 23, 6, 30)
    assert type(value) is datetime
