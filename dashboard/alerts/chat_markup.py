"""Neutralisation of chat markup in alerts: mentions, links behind other words, code blocks.

One form serves all of Apprise's services. Their escapes differ (a backslash in Discord, entities in
Slack), and Apprise's own treatment differs by service and by the address's options: Slack gets
``&`` and ``<`` unescaped with ``blocks=yes``, and with ``format=markdown`` Discord is sent a
mention of each ``@word``. So characters that start markup are separated with a zero-width space
(U+200B), as Discord's own libraries do with mentions, or replaced by a similar character. Both
work in every service.
"""

import re
from typing import Final

# These services treat text as data, and Apprise escapes HTML in e-mail: text is sent unchanged.
PLAIN: Final = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"})
_BREAK: Final = "\u200b"
# Angle brackets make <!here>, <@U1>, <users/all>, <at>…</at>, <url|words> and HTML; backticks make
# code, in which the rest of the text would be hidden.
_LOOK_ALIKES: Final = str.maketrans({"<": "‹", ">": "›", "`": "'"})
_BEGINS: Final = re.compile(
    r"[@＠﹫]"  # mentions
    r"|[\[\]]"  # [words](url), ![picture](url), [~account], [CQ:at]
    r"|&(?=#?\w+;)"  # entities of the characters named here
    r"|\|(?=\|)"  # ||hidden|| in Discord
    r"|\((?=(?:met|rol|chn)\))"  # (met)all(met) in KOOK
)
# The console's own address at the end of a message, on its own line; external text is never there.
_LINK: Final = re.compile(r"https?://\S+")


def make_inert(text: str) -> str:
    """Neutralise what a chat service reads as a mention, a link or code.

    A bare address stays a link: it shows where it leads.
    """
    return _BEGINS.sub(rf"\g<0>{_BREAK}", text.translate(_LOOK_ALIKES))


def make_message_inert(schema: str, subject: str, body: str) -> tuple[str, str]:
    """Return subject and body, neutralised for the service with this Apprise scheme.

    The console's own link at the end of ``body`` stays.
    """
    if schema in PLAIN:
        return subject, body
    words, gap, last = body.rpartition("\n\n")
    if not _LINK.fullmatch(last):
        words, gap, last = body, "", ""
    return make_inert(subject), f"{make_inert(words)}{gap}{last}"
