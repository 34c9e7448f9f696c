"""Make the text of an alert harmless for services that read markup: no mention, no link behind words, no code block.

One form serves all of Apprise's services. Their escapes differ (a backslash in Discord, entities in Slack), and what Apprise
itself does with a text differs by service and by the address's options: Slack gets ``&`` and ``<`` as they are with
``blocks=yes``, and Discord is sent a mention of each ``@word`` with ``format=markdown``. So what begins markup is taken apart
with a zero-width space (U+200B), as Discord's own libraries do with mentions, or replaced by a look-alike: that holds in each.
"""

import re
from typing import Final

# Services that hand on text as data, and e-mail, where Apprise escapes the HTML: they get the words unchanged.
PLAIN: Final = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"})
_BREAK: Final = "\u200b"
# Angle brackets make <!here>, <@U1>, <users/all>, <at>…</at>, <url|words> and HTML; backticks hide what follows them in code.
_LOOK_ALIKES: Final = str.maketrans({"<": "‹", ">": "›", "`": "'"})
_BEGINS: Final = re.compile(
    r"[@＠﹫]"  # mentions
    r"|[\[\]]"  # [words](url), ![picture](url), [~account], [CQ:at]
    r"|&(?=#?\w+;)"  # entities of the characters named here
    r"|\|(?=\|)"  # ||hidden|| in Discord
    r"|\((?=(?:met|rol|chn)\))"  # (met)all(met) in KOOK
)
# The console's own address at a message's end, on a line of its own; no text from outside has one.
_LINK: Final = re.compile(r"https?://\S+")


def make_inert(text: str) -> str:
    """Take apart whatever a chat service reads as a mention, a link or code. A bare address stays, and shows where it leads."""
    return _BEGINS.sub(rf"\g<0>{_BREAK}", text.translate(_LOOK_ALIKES))


def make_message_inert(schema: str, subject: str, body: str) -> tuple[str, str]:
    """Make a message harmless for the service that Apprise calls so; the console's own link at the end of ``body`` stays."""
    if schema in PLAIN:
        return subject, body
    words, gap, last = body.rpartition("\n\n")
    if not _LINK.fullmatch(last):
        words, gap, last = body, "", ""
    return make_inert(subject), f"{make_inert(words)}{gap}{last}"
