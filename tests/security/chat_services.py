"""Texts that chat services interpret, addresses of these services, and captured requests."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import requests

KEY = "a1b2c3d4" * 3
UUID = "8b799edf-6f98-4d3a-9be7-2862fb4e5752"
BOT = "xoxb"
SLACK, DISCORD = f"slack://{BOT}-1234-1234-{KEY}aaaaaaaa/#general", f"discord://4174216298/{KEY}"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544/"
ADDRESSES = (
    SLACK, f"{SLACK}?blocks=yes", f"{SLACK}?format=text", f"{SLACK}?format=html",
    f"slack://T1JJ3T3L2/A1BRTD4JD/{KEY}",
    DISCORD, f"{DISCORD}?format=markdown", f"{DISCORD}?format=markdown&fields=yes",
    f"mmost://127.0.0.1:9/{KEY}",
    "gchat://workspace/key/token/", "gchat://workspace/key/token/?format=text",
    f"workflows://example.com/{UUID}/signature/",
    TELEGRAM, f"{TELEGRAM}?format=markdown&mdv=2", f"{TELEGRAM}?format=text",
    "rocket://part/part@127.0.0.1/#general",
    f"zulip://bot@org/{KEY}abcdefgh/general", "ntfy://topic", "ntfy://topic?format=markdown",
    f"matrix://127.0.0.1/{KEY}?mode=slack",
    f"wxteams://{KEY * 4}", f"kook://{KEY}/123", f"revolt://{KEY}/01HZZZZZZZZZZZZZZZZZZZZZZZ",
    f"guilded://4174216298/{KEY}",
    "ryver://org/ckhrjW8w672m6HG", f"flock://{KEY}", f"lark://{UUID}", f"feishu://{UUID}",
    f"dingtalk://{KEY}", f"wecombot://{KEY}",
    "nctalks://user:pass@127.0.0.1/room", f"chime://{KEY}/{KEY}", f"stackfield://{UUID}",
    f"mastodon://{KEY}@127.0.0.1",
)  # fmt: skip
TEXTS = (
    "<!here>", "<!channel|x>", "< !here >", "!here>", "<@U024BE7LH>", "@U024BE7LH>",
    "@U024BE7LH&gt;", "<#C024BE7LR>", "<#123456>",
    "<https://evil.example|the console>", "https://evil.example|the console>",
    "https://evil.example|the console&gt;",
    "@everyone", "@EVERYONEx", "x@everyone", "@here", "@channel @all @room", "@olga", "@**all**",
    '@"all"', "＠everyone", "@@here",
    "<@123456> <@&123456> <@!123456>", "<users/all>", "<users/123456>", "<at>olga</at>",
    '<at user_id="all">x</at>', "<@all>",
    "[the console](https://evil.example)", "![x](https://evil.example/p.png)",
    "[x][y] [y]: https://evil.example", "[~olga] [CQ:at,qq=all]",
    "&lt;!here&gt;", "&lt;users/all&gt;", "!here&gt;", "&#64;everyone", "&#x40;here",
    "&commat;here", "&#60;!here&#62;",
    "```", "`x`", "||hidden||", "(met)all(met)", "(rol)1(rol)",
    "<a href=https://evil.example>x</a>", "<img src=https://evil.example>",
)  # fmt: skip
# Texts that a service interprets. Written without the code under test.
LIVE = re.compile(
    r"""<\s*(?:[!@#]|https?:|mailto:|users/|at\b|a\s|img\b)   # Slack, Discord, Google, Teams
    |[@＠﹫](?=[\w*"&!@])  # mentions
    |&lt;\s*[!@#u]|!here&gt;|LH&gt;  # decoded by Apprise or a service
    |&\#?x?\w*(?:64|40|60|commat);
    |\]\(|\]\[|\]:|\[~|\[CQ  # links, pictures, definitions
    |`|\|\||\((?:met|rol)\)  # code, hidden text, KOOK
    |👉""",
    re.VERBOSE,
)
ANSWER = {
    "ok": True,
    "code": 0,
    "errcode": 0,
    "StatusCode": 0,
    "id": "x",
    "channel": "C1",
    "data": {},
}


def answered(request: requests.PreparedRequest) -> requests.Response:
    """Return a response that every service's plug-in takes for success."""
    response = requests.Response()
    response.status_code, response.request, response.url = 200, request, request.url or ""
    response._content = b"ok" if "hooks.slack.com" in response.url else json.dumps(ANSWER).encode()
    return response


def words_of(request: requests.PreparedRequest) -> Iterator[str]:
    """Yield every text in a request's body."""
    body = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
    try:
        yield from _texts(json.loads(body))
    except ValueError:
        yield from (value for _, value in parse_qsl(body))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _texts(each)
