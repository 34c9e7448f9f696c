"""Claims of an id_token: the verified address, and roles in lists or nested objects."""

from collections.abc import Mapping
from typing import Any

from dashboard.core.email_addresses import canonical


def verified(claims: Mapping[str, Any], email: Any) -> bool | None:
    """Return whether the provider states that the address is verified; None if it does not say.

    ``email_verified`` is about the claim ``email`` (OpenID Connect Core 1.0, section 5.1). An
    address of another claim, which users may choose freely, counts as verified only if it is the
    same. The statement "not verified" applies to both.
    """
    stated = claims.get("email_verified")
    if stated is None:
        return None
    if stated is not True and stated != "true":
        return False
    standard = claims.get("email")
    is_same = isinstance(standard, str) and canonical(standard) == canonical(str(email))
    return True if is_same else None


def find(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its full name, else by its dotted path; None if there is none."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


def values(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return a claim's text values as a list."""
    found = find(claims, name)
    if isinstance(found, str):
        return [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
