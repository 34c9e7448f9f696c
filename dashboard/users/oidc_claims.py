"""Claims of an id_token, as providers write them: an address and whether it is verified, roles in lists or objects."""

from collections.abc import Mapping
from typing import Any

from dashboard.core.email_addresses import canonical


def verified(claims: Mapping[str, Any], email: Any) -> bool | None:
    """Whether the provider says that this address is verified; None where it does not say.

    ``email_verified`` is about the claim ``email`` (OpenID Connect Core 1.0, section 5.1): an address from another claim, which a
    person may be free to choose, is verified only if it is the same. That it is not verified holds for either.
    """
    said = claims.get("email_verified")
    if said is None:
        return None
    if said is not True and said != "true":
        return False
    spoken_of = claims.get("email")
    return (
        True
        if isinstance(spoken_of, str) and canonical(spoken_of) == canonical(str(email))
        else None
    )


def find(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its whole name, else by the parts between dots; None where there is none."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


def values(claims: Mapping[str, Any], name: str) -> list[str]:
    """A claim's values as words."""
    found = find(claims, name)
    if isinstance(found, str):
        return [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
