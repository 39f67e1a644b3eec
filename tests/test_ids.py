"""Session ids: how they are made, which ones are looked up, how they appear in logs."""

from pyfly_session import ids
from tests.support.cases import for_each


def test_a_new_id_is_32_lowercase_hex_characters() -> None:
    made = ids.new_id()

    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")
    assert ids.is_acceptable(made)


def test_new_ids_differ() -> None:
    assert len({ids.new_id() for _ in range(1000)}) == 1000


def test_the_id_of_a_record_is_told_from_that_of_a_session_and_no_client_can_send_it() -> None:
    record = ids.record_id("principal", ids.new_id())

    assert record.startswith("principal:")
    assert ids.is_record(record)
    assert not ids.is_acceptable(record)
    assert not ids.is_record(ids.new_id())


def test_all_128_bits_of_a_new_id_vary() -> None:
    """A version-4 UUID has six constant bits."""
    made = [int(ids.new_id(), 16) for _ in range(256)]
    ever_set, always_set = 0, 2**128 - 1
    for number in made:
        ever_set |= number
        always_set &= number

    assert (ever_set, always_set) == (2**128 - 1, 0)


@for_each(
    "candidate",
    [
        "a", "0" * 128, "5f2b0c7e9d3a4b6c8e1f0a2b3c4d5e6f", "5f2b0c7e-9d3a-4b6c-8e1f-0a2b3c4d5e6f",
        "A.b_c~d-9",
    ],
)  # fmt: skip
def test_ids_of_other_makers_are_acceptable(candidate: str) -> None:
    assert ids.is_acceptable(candidate)


@for_each(
    "candidate",
    [
        "",
        "0" * 129,
        "a" * 7000,
        "user:alice",
        "a b",
        "a\n",
        "\na",
        "a\x00",
        "a/../b",
        "a*",
        "a?",
        "[a]",
        "{a}",
        "a;b",
        'a"b',
        "a%3Ab",
        "é",
        "٣",  # a digit, but not an ASCII one
        "\ud800",
    ],
)
def test_a_value_that_could_name_a_foreign_key_is_not_acceptable(candidate: str) -> None:
    assert not ids.is_acceptable(candidate)


def test_the_mask_of_an_id_is_stable_short_and_does_not_contain_it() -> None:
    session_id = ids.new_id()

    masked = ids.mask(session_id)

    assert masked == ids.mask(session_id)
    assert masked != ids.mask(ids.new_id())
    assert len(masked) == 11
    assert not any(session_id[at : at + 8] in masked for at in range(24))


@for_each("hostile", ["", "\ud800", "\x00", "x" * 100_000])
def test_any_text_can_be_masked(hostile: str) -> None:
    assert ids.mask(hostile).startswith("#")
