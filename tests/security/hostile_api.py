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
        cleaned = request.copy()
        parts = urlsplit(cleaned.url or "")
        query = [
            (_as_it_was(name), _as_it_was(value))
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        cleaned.url = urlunsplit(parts._replace(query=urlencode(query)))
        response = super().send(cleaned, *args, **more)
        body = self._made_hostile(parts.path, response.content)
        hostile = requests.Response()
        hostile.status_code, hostile.url, hostile.request = (
            response.status_code,
            request.url or "",
            request,
        )
        hostile.headers.update(
            {
                name: response.headers[name]
                for name in ("Content-Type", "Retry-After")
                if name in response.headers
            }
        )
        hostile.raw = HTTPResponse(
            io.BytesIO(body), hostile.headers, response.status_code, preload_content=False
        )
        return hostile

    def _made_hostile(self, path: str, content: bytes) -> bytes:
        if path.startswith("/api/proxy/db/"):
            return b"\n".join(
                json.dumps(_sql(json.loads(line))).encode()
                for line in content.splitlines()
                if line.strip()
            )
        try:
            body = json.loads(content)
        except ValueError:
            return content
        if path.startswith("/api/partner/sub-accounts/"):
            body = {
                "data": [each for each in body["data"] if each["id"] in self._accounts],
                "next": None,
            }
        if "/rows/" in path:
            return json.dumps(_rows(body)).encode()
        return json.dumps(
            body if path.endswith(("/invite/", "/saltedge-refresh/")) else _hostile(body)
        ).encode()


def _as_it_was(text: str) -> str:
    return text.replace(PAYLOAD, "").replace(SCRIPT, "")


def _hostile(content: Any) -> Any:
    if isinstance(content, str):
        return PAYLOAD + content
    if isinstance(content, list):
        return [_hostile(each) for each in content]
    if not isinstance(content, dict):
        return content
    made = {
        name: value if name in KEPT and isinstance(value, str) else _hostile(value)
        for name, value in content.items()
    }
    if isinstance(content.get("tables"), dict):
        made["tables"] = {PAYLOAD + name: load for name, load in content["tables"].items()}
    if isinstance(content.get("id"), int) and content["id"] % ODD == 0:
        made |= {name: PAYLOAD for name in ("health_status", "status") if name in content}
    return made


def _value(content: Any) -> Any:
    if isinstance(content, str):
        return SCRIPT + content if content.startswith("http") else PAYLOAD + content
    if isinstance(content, list):
        return [_value(each) for each in content]
    return (
        {name: _value(value) for name, value in content.items()}
        if isinstance(content, dict)
        else content
    )


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name if name in {"id", "order"} else PAYLOAD + name: _value(value)
        for name, value in row.items()
    }


def _rows(body: Any) -> Any:
    if isinstance(body, dict) and isinstance(body.get("results"), list):
        return {**body, "results": [_row(each) for each in body["results"]]}
    return _row(body) if isinstance(body, dict) and "id" in body else _hostile(body)


def _sql(line: Any) -> Any:
    made = dict(line)
    if "columns" in made:
        made["columns"] = [[PAYLOAD + name, kind] for name, kind in made["columns"]]
    if "records" in made:
        made["records"] = [[_value(each) for each in row] for row in made["records"]]
    return made
