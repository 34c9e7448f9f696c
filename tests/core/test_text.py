"""Folding and comparing of texts, over all of Unicode."""

import sys
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.core.email_addresses import canonical
from dashboard.core.text import casefolded, comparable, meant
from dashboard.users.errors import PeopleError
from dashboard.users.service import checked_address

CHARACTERS = [chr(each) for each in range(sys.maxunicode + 1) if not 0xD800 <= each < 0xE000]
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
# Any text, with more letters, marks and blanks that fold in special ways than random text has.

TEXTS = st.text() | st.text(
    "aAßẞſİıiIςσΣﬁﬃÅÅéÉ\u0301\u0307\u0345ΐǰŉ\u00a0\u202f\u3000\u200b\u00ad\ufeff\t\n ＡａＺ１ｶﾞガĲĳ"
)


@pytest.mark.parametrize("fold", [casefolded, comparable])
def test_every_character_is_folded_once_for_all_in_all_its_forms(fold: object) -> None:
    assert callable(fold)
    for each in CHARACTERS:
        folded = fold(each)
        assert fold(folded) == folded, hex(ord(each))
        for form in FORMS:
            assert fold(normalize(form, each)) == folded, (form, hex(ord(each)))


def test_every_character_is_comparable_to_its_upper_lower_and_title_case() -> None:
    for each in CHARACTERS:
        for other in (each.upper(), each.lower(), each.title(), each.swapcase()):
            assert comparable(other) == comparable(each), hex(ord(each))


@given(TEXTS)
def test_text_is_folded_once_for_all(text: str) -> None:
    for fold in (casefolded, comparable):
        folded = fold(text)
        assert fold(folded) == folded
        assert {fold(normalize(form, text)) for form in FORMS} == {folded}
        assert folded == " ".join(folded.split())
        folded.encode()


@pytest.mark.parametrize(
    "alike",
    [
        (
            "École",
            "ÉCOLE",
            "école",
            "E\u0301cole",
            "Ｅ\u0301ｃｏｌｅ",
            "Éco\u00adle",
            "É\u200bcole",
            "\ufeffÉcole",
        ),
        ("Ørsted", "ØRSTED", "ørsted"),
        ("РОМАШКА", "ромашка", "Ромашка"),
        ("Straße", "STRASSE", "STRAẞE", "strasse"),
        (
            "İstanbul",
            "ISTANBUL",
            "istanbul",
            "i\u0307stanbul",
            "ıstanbul",
            "İ\u0307stanbul",
            "ı\u0307stanbul",
        ),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς", "οδυσσευσ"),
        ("ﬁnance", "FINANCE", "ﬁNANCE"),
        ("Ångström", "Ångström", "A\u030angstro\u0308m", "ÅNGSTRÖM"),
        (
            "a b",
            " a\u00a0b",
            "a\u202fb",
            "a\u3000b",
            "a \t\n b ",
            "A\u2003B",
            "a\x00b",
            "a\u2028b",
            "a\u2800b",
        ),
        ("ガーデン", "ｶﾞｰﾃﾞﾝ", "カ\u3099ーテ\u3099ン"),
    ],
)
def test_spellings_of_one_word_are_one_word(alike: tuple[str, ...]) -> None:
    assert len({comparable(each) for each in alike}) == 1, [comparable(each) for each in alike]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ecole", "École"), ("orsted", "Ørsted"), ("ab", "a b"), ("и", "й"), ("か", "が")],
)
def test_other_letters_stay_other_letters(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)


def test_somebody_means_what_they_wrote_or_else_the_only_one_that_is_alike() -> None:
    assert meant("École", ["école", "École"]) == "École"
    assert meant("ÉCOLE", ["Straße", "École"]) == "École"
    assert meant("ÉCOLE", ["école", "École"]) is None
    assert meant("Ecole", ["École"]) is None


def test_all_spellings_of_an_address_are_one_address() -> None:
    spellings = (
        "sam@bücher.example",
        "sam@xn--bcher-kva.example",
        "SAM@XN--BCHER-KVA.EXAMPLE",
        "Sam@BU\u0308CHER.example",
        " ｓａｍ＠bücher．example\u00a0",
        "sa\u200bm@bücher.example",
    )
    assert {canonical(each) for each in spellings} == {"sam@bücher.example"}
    assert (
        canonical("JÖRG@example.com") == canonical("jo\u0308rg@EXAMPLE.com") == "jörg@example.com"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sam@straße.example", "sam@strasse.example"),
        ("admin@example.com", "admın@example.com"),
        ("sam@example.com", "s.am@example.com"),
        ("josé@example.com", "jose@example.com"),
    ],
)
def test_other_addresses_stay_other_addresses(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@given(st.text() | st.from_regex(r"[^@]{0,8}@(xn--)?[^@]{0,12}"))
def test_whatever_is_typed_for_an_address_has_a_canonical_form_that_both_databases_take(
    text: str,
) -> None:
    found = canonical(text)
    assert len(found) <= 254
    assert "\0" not in found
    found.encode()


@given(st.emails() | st.from_regex(r"\A\w{1,8}@\w{1,8}\.example\Z"))
def test_the_canonical_form_of_what_is_kept_for_an_address_is_itself(text: str) -> None:
    try:
        checked = checked_address(text)
    except PeopleError:
        return
    assert canonical(checked) == checked == checked_address(checked)
