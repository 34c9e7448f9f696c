"""Columns in Baserow's form: the common part, and the settings of each type."""

from typing import Any

from dashboard.sandbox.tables import COUNTRIES, SHAPES, STATUSES, TAGS, Field, Table

READ_ONLY = {"autonumber", "last_modified", "created_by", "uuid", "lookup", "formula"}
UNLIKE_TEXT = {"boolean", "file", "password"}
DURATION_FORMAT = "h:mm:ss.s"
_PLAIN: dict[str, dict[str, Any]] = {
    "rating": {"max_value": 5, "style": "star"},
    "duration": {"duration_format": DURATION_FORMAT},
}
_DATE = {
    "date_format": "ISO",
    "date_time_format": "24",
    "date_show_tzinfo": False,
    "date_force_timezone": None,
}


def as_json(table: Table, field: Field, order: int) -> dict[str, Any]:
    """Return one field as the API shows it (B)."""
    return {
        "id": field.id,
        "table_id": table.id,
        "name": field.name,
        "order": order,
        "type": field.type,
        "primary": field.primary,
        "read_only": field.type in READ_ONLY,
        "description": None,
        **_settings(table, field),
        **field.settings,
    }


def _settings(table: Table, field: Field) -> dict[str, Any]:
    if field.type == "number":
        places = 0 if table.kind in {"wide", "empty"} or field.name == "Precise" else 2
        return {
            "number_decimal_places": places,
            "number_negative": True,
            "number_prefix": "",
            "number_suffix": "",
        }
    if field.type in {"date", "last_modified"}:
        return {**_DATE, "date_include_time": field.name not in {"Due"}}
    if field.type in {"single_select", "multiple_select"}:
        return {
            "select_options": [
                {"id": n, "value": value, "color": colour} for n, value, colour in _options(field)
            ]
        }
    if field.type == "link_row":
        # The table links to itself.
        name, type_ = SHAPES.get(table.kind, (("Title", "text"),))[0]
        title = {
            "id": table.id * 1000,
            "table_id": table.id,
            "name": name,
            "type": type_,
            "primary": True,
        }
        links = {
            "link_row_table_id": table.id,
            "link_row_related_field_id": None,
            "link_row_multiple_relationships": True,
        }
        return {**links, "link_row_table_primary_field": title}
    if field.result:
        formula = (
            {"formula": "1 / 0" if field.result == "number" else "link('…')"}
            if field.type == "formula"
            else {}
        )
        return {
            **formula,
            "formula_type": field.result,
            "array_formula_type": field.item or None,
            "error": None,
        }
    return _PLAIN.get(field.type, {})


def _options(field: Field) -> tuple[tuple[int, str, str], ...]:
    if field.name == "Country":
        return COUNTRIES
    return TAGS if field.type == "multiple_select" else STATUSES
