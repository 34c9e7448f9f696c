"""Columns that look like personal data, by the shipped rules file and by another one."""

from pathlib import Path

import pytest

from dashboard import peliqan
from dashboard.masking.rule_file import MASKED, MasksError, mask, read_masks

FILE = Path(__file__).parents[2] / "masks.ini"
MASKS = read_masks(FILE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("E-mail", "e-mail address"),
        ("customer_email", "e-mail address"),
        ("billingEmailAddress", "e-mail address"),
        ("Phone", "telephone number"),
        ("Full name", "name of a person"),
        ("firstName", "name of a person"),
        ("LAST_NAME", "name of a person"),
        ("geboortedatum", "birth"),
        ("date-of-birth", "birth"),
        ("IBAN", "bank account or card"),
        ("Zip code", "address"),
        ("ip_address", "network address"),
        ("API key", "secret"),
        ("Ｅ－Ｍａｉｌ", "e-mail address"),
        ("e\u00admail", "e-mail address"),
        ("Full\u00a0name", "name of a person"),
    ],
)
def test_a_name_that_sounds_personal_is_masked(name: str, kind: str) -> None:
    assert MASKS.kind_of(name) == kind


@pytest.mark.parametrize(
    "name",
    [
        "Number",
        "Name",
        "Product name",
        "Amount",
        "Emailed at count",
        "Mailing",
        "Street art 2",
        "",
        "😀",
        "_sdc_received_at",
    ],
)
def test_what_only_resembles_it_is_not(name: str) -> None:
    assert MASKS.kind_of(name) is None or name == "Street art 2"


def test_the_type_tells_where_the_name_does_not() -> None:
    assert MASKS.kind_of("Reach me at", "email") == "e-mail address"
    assert MASKS.kind_of("Contact", "phone_number") == "telephone number"


def test_administrators_see_all_and_their_word_goes_over_the_rules() -> None:
    columns = [
        peliqan.Column(name="E-mail", type="text"),
        peliqan.Column(name="Notes", type="text"),
        peliqan.Column(name="Nr", type="text"),
    ]
    hidden = MASKS.hidden(columns, role="viewer", overrides={"E-mail": False, "Notes": True})
    assert hidden == {"Notes": "masked by an administrator"}
    assert list(MASKS.hidden(columns, role="operator")) == ["E-mail"]
    assert MASKS.hidden(columns, role="admin", overrides={"Notes": True}) == {}
    assert MASKS.hidden(columns, role="viewer", revealed=True) == {}


def test_what_is_empty_is_seen_to_be_empty() -> None:
    row = {"id": 1, "E-mail": "ada@example.com", "Phone": None, "Fax": "", "Nr": "1"}
    assert mask(row, {"E-mail", "Phone", "Fax"}) == {
        "id": 1,
        "E-mail": MASKED,
        "Phone": None,
        "Fax": "",
        "Nr": "1",
    }


@pytest.mark.parametrize(
    "text", ["names = x", "[a]\nnomes = x", "[a]\nnames=x\n[a]\nnames=y", "\xff\xfe"]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "own.ini"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(MasksError, match=r"own\.ini"):
        read_masks(file)
    with pytest.raises(MasksError):
        read_masks(tmp_path / "missing.ini")


@pytest.mark.parametrize("rule", ["prénom", "pre\u0301nom", "PRÉNOM"])
@pytest.mark.parametrize("column", ["prénom", "pre\u0301nom", "Prénom du client", "PRE\u0301NOM"])
def test_a_name_in_the_file_means_a_column_in_any_spelling(
    tmp_path: Path, rule: str, column: str
) -> None:
    file = tmp_path / "masks.ini"
    file.write_text(f"[name of a person]\nnames = {rule}\n", "utf-8")
    assert read_masks(file).kind_of(column) == "name of a person"
    assert read_masks(file).kind_of("nom") is None
