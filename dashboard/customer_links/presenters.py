"""The message for a waiting link, as the pages of links and connections show it."""

from dataclasses import dataclass
from datetime import datetime

from flask import request

from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.context import services
from dashboard.core.text import meant
from dashboard.customer_links import letters
from dashboard.customer_links import queries as waiting_links
from dashboard.customer_links.limits import GIVE_UP_AFTER
from dashboard.customer_links.service import SafeLink, check_link
from dashboard.fleet.models import Account, Connection
from dashboard.listing.query import BadQuery
from dashboard.web.times import zone


@dataclass(frozen=True)
class MessageForm:
    """The message and its form. ``stage``: see ``customer_links.queries.STAGES``."""

    action: Action
    stage: str
    link: SafeLink
    letter: letters.CustomerMessage
    good_until: datetime

    @property
    def languages(self) -> list[tuple[str, str]]:
        """The languages to choose from: code and name."""
        return letters.choices()

    @property
    def sent_in(self) -> str:
        """The English name of the language in which the message was sent."""
        return letters.in_english(self.action.language)

    @property
    def is_reminder(self) -> bool:
        """Whether the message is a reminder."""
        return self.stage == waiting_links.REMIND or self.action.reminded_at is not None


def message_of(
    action: Action, account: Account, connection: Connection | None
) -> MessageForm | None:
    """Return the message for a link, or None if the link is not waiting.

    The language is the request's, else the one of the last message to the customer.

    Raises:
        BadQuery: The request names an unknown language.
    """
    at = services().clock()
    if action.state != actions.WAITING or not action.url or action.kind not in actions.LINKS:
        return None
    stage = waiting_links.stage_of(action, at) or waiting_links.UNSENT
    link, good_until = check_link(action.url), action.started_at + GIVE_UP_AFTER
    template = letters.MessageTemplate(
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
        action, stage, link, letters.write(language, template, at, zone()), good_until
    )


def chosen_language() -> str | None:
    """Return the language that the request names; None if it names none.

    Raises:
        BadQuery: The language is unknown.
    """
    wanted = request.values.get("language")
    found = meant(wanted, letters.LANGUAGES) if wanted else None
    if wanted and found is None:
        raise BadQuery(
            f"There are no messages in “{wanted[:20]}”. There are: {', '.join(letters.LANGUAGES)}."
        )
    return found


def service_name(connector: str) -> str:
    """Return a connector's name in title case (``exact_online``: Exact Online)."""
    words = connector.replace("_", " ").strip()
    return words.title() if words.islower() else words
