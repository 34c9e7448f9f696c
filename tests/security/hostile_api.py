"""An API adapter that puts an attack in front of each text of the sandbox's responses."""

import io
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

# It ends an attribute, an element and a script; spreadsheets, templates and terminals run it.
PAYLOAD = "=1+1'\"></title></textarea></script><xss onxss=1>{{7*7}}\x1b[31m"
SCRIPT = "javascript:xss()//"
# Fields that are not free text: words, times or secrets, none of which are shown.
KEPT = {
    "token", "integration_token", "access_token", "next", "previous", "timestamp_start",
    "timestamp_end", "consent_expires_at",
    "health_status", "status", "auth_type", "type", "server_name", "order", "auth_uri", "error",
    "uploaded_at", "task_id",
}  # fmt: skip
# One of this many connections and runs has an unknown status, made of the payload.
ODD = 9


class HostileApi(HTTPAdapter):
    """Calls the sandbox and makes its responses hostile. ``accounts``: those that it lists."""

    def __init__(self, accounts: set[int]) -> None:
        super().__init__(pool_maxsize=8)
        self._accounts = accounts

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        asked = request.copy()
        parts = urlsplit(asked.url or "")
        query = [
            (_as_it_was(name), _as_it_was(value))
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        asked.url = urlunsplit(parts._replace(query=urlencode(query)))
        answer = super().send(asked, *args, **more)
        body = self._made_hostile(parts.path, answer.content)
        made = requests.Response()
        made.status_code, made.url, made.request = answer.status_code, request.url or "", request
        made.headers.update(
            {
                name: answer.headers[name]
                for name in ("Content-Type", "Retry-After")
                if name in answer.headers
            }
        )
        made.raw = HTTPResponse(
            io.BytesIO(body), made.headers, answer.status_code, preload_content=False
        )
        return made

    def _made_hostile(self, path: str, content: bytes) -> bytes:
        if path.startswith("/api/proxy/db/"):
            return b"\n".join(
                json.dumps(_sql(json.loads(line))).encode()
                for line in content.splitlines()
                if line.strip()
            )
        try:
            told = json.loads(content)
        except ValueError:
            return content
        if path.startswith("/api/partner/sub-accounts/"):
            told = {
                "data": [each for each in told["data"] if each["id"] in self._accounts],
                "next": None,
            }
        if "/rows/" in path:
            return json.dumps(_rows(told)).encode()
        return json.dumps(
            told if path.endswith(("/invite/", "/saltedge-refresh/")) else _hostile(told)
        ).encode()


def _as_it_was(text: str) -> str:
    return text.replace(PAYLOAD, "").replace(SCRIPT, "")


def _hostile(told: Any) -> Any:
    if isinstance(told, str):
        return PAYLOAD + told
    if isinstance(told, list):
        return [_hostile(each) for each in told]
    if not isinstance(told, dict):
        return told
    made = {
        name: value if name in KEPT and isinstance(value, str) else _hostile(value)
        for name, value in told.items()
    }
    if isinstance(told.get("tables"), dict):
        made["tables"] = {PAYLOAD + name: load for name, load in told["tables"].items()}
    if isinstance(told.get("id"), int) and told["id"] % ODD == 0:
        made |= {name: PAYLOAD for name in ("health_status", "status") if name in told}
    return made


def _value(told: Any) -> Any:
    if isinstance(told, str):
        return SCRIPT + told if told.startswith("http") else PAYLOAD + told
    if isinstance(told, list):
        return [_value(each) for each in told]
    return {name: _value(value) for name, value in told.items()} if isinstance(told, dict) else told


def _row(told: dict[str, Any]) -> dict[str, Any]:
    return {
        name if name in {"id", "order"} else PAYLOAD + name: _value(value)
        for name, value in told.items()
    }


def _rows(told: Any) -> Any:
    if isinstance(told, dict) and isinstance(told.get("results"), list):
        return {**told, "results": [_row(each) for each in told["results"]]}
    return _row(told) if isinstance(told, dict) and "id" in told else _hostile(told)


def _sql(line: Any) -> Any:
    made = dict(line)
    if "columns" in made:
        made["columns"] = [[PAYLOAD + name, kind] for name, kind in made["columns"]]
    if "records" in made:
        made["records"] = [[_value(each) for each in row] for row in made["records"]]
    return made
