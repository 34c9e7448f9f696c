"""Settings of a console over the sandbox, and the minimum that one starts with."""

from pathlib import Path
from typing import Any

from dashboard.settings import Settings
from tests.support.processes import TOKEN

GOOD = {"SECRET_KEY": "s" * 40, "PELIQAN_PARTNER_TOKEN": "t"}


def make_settings(sandbox_url: str, folder: Path, **changes: Any) -> Settings:
    """Return settings for a console over the sandbox."""
    return Settings(
        **{
            "secret_key": "k" * 40,
            "peliqan_api_url": sandbox_url,
            "peliqan_partner_token": TOKEN,
            "peliqan_embed_script_url": f"{sandbox_url}/embed/v1.3/peliqan-integration.js",
            "dashboard_data": folder,
            "dashboard_watch_interval": 0.1,
            "dashboard_api_timeout": 3,
            "dashboard_insecure_cookies": True,
            **changes,
        }
    )
