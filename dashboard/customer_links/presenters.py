"""A link that waits, as a message ready to send: what the desk and a connection's page show of it."""

from dataclasses import dataclass
from datetime import datetime

from flask import request

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.context import services
from dashboard.core.text import meant
from dashboard.customer_links import letters
from dashboard.customer_links import queries as waiting_links
from dashboard.customer_links.service import GIVE_UP_AFTER, SafeLink, check_link
from dashboard.fleet.models import Account, Connection
from dashboard.listing.query import BadQuery
from dashboard.web.times import zone


@dataclass(frozen=True)
class MessageForm:
    """What the templates receive. ``stage``: a word of ``customer_links.queries``."""

    action: Action
    stage: str
    link: SafeLink
    letter: letters.CustomerMessage
    good_until: datetime

    @property
    def languages(self) -> list[tuple[str, str]]:
        """What may be chosen."""
        return letters.choices()

    @property
    def sent_in(self) -> str:
        """The language it was sent in, as we call it."""
        return letters.in_english(self.action.language)

    @property
    def is_reminder(self) -> bool:
        """Whether the text is that of a reminder."""
        return self.stage == waiting_links.REMIND or self.action.reminded_at is not None


def message_of(
    action: Action, account: Account, connection: Connection | None
) -> MessageForm | None:
    """The message for a link, in the language that is asked for; None where the link waits no more, or not yet.

    Raises:
        BadQuery: another language than there are.
    """
    at = services().clock()
    if action.state != actions.WAITING or not action.url or action.kind not in actions.LINKS:
        return None
    stage = waiting_links.stage_of(action, at) or waiting_links.UNSENT
    link, good_until = check_link(action.url), action.started_at + GIVE_UP_AFTER
    occasion = letters.MessageTemplate(
        kind=action.kind,
        rule=action.rule,
        account=account.title,
        service=connection.title if connection is not None else service_name(action.connector),
        url=link.url,
        good_until=good_until,
        is_reminder=stage == waiting_links.REMIND or action.reminded_at is not None,
    )
    language = (
        chosen_language()
        or action.language
        or waiting_links.language_of(account.id)
        or letters.LANGUAGES[0]
    )
    if language not in letters.LANGUAGES:
        language = letters.LANGUAGES[0]
    return MessageForm(
        action, stage, link, letters.write(language, occasion, at, zone()), good_until
    )


def chosen_language() -> str | None:
    """The language that the request asks for.

    Raises:
        BadQuery: there is none of that name.
    """
    asked = request.values.get("language")
    found = meant(asked, letters.LANGUAGES) if asked else None
    if asked and found is None:
        raise BadQuery(
            f"There are no messages in “{asked[:20]}”. There are: {', '.join(letters.LANGUAGES)}."
        )
    return found


def service_name(connector: str) -> str:
    """``exact_online`` as a customer would write it, as far as that can be told."""
    words = connector.replace("_", " ").strip()
    return words.title() if words.islower() else words
