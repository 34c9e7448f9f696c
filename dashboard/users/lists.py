"""The list of users."""

from typing import Any

from sqlalchemy import select

from dashboard.listing.listing import Filter, Listing, shown_time
from dashboard.users.models import User

USERS = Listing(
    statement=select(User),
    search=(User.email_folded,),
    filters={"role": Filter(User.role, "Role", ("viewer", "operator", "admin"))},
    sorts={
        "email": (User.email_folded, User.id),
        "role": (User.role, User.id),
        "seen": (User.seen_at, User.id),
        "created": (User.created_at, User.id),
    },
    default_sort="email",
)


def serialize_user(user: User) -> dict[str, Any]:
    """Return a user as JSON and CSV have it."""
    return {
        "email": user.email,
        "role": user.role,
        "disabled": user.disabled_at is not None,
        "from": user.issuer or "here",
        "handed_to": user.handed_to,
        "limited": user.limited,
        "second_factor": user.totp_secret is not None,
        "created_at": shown_time(user.created_at),
        "seen_at": shown_time(user.seen_at),
    }
