"""Addresses that alerts may go to, and the part of them that is shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.alerts import sending as alert_delivery
from dashboard.core.egress import AllowedDestination, EgressPolicy
from tests.support.alert_receiver import Receiver


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "json://bob:pw@hooks.example.com:8080/secret?x=1",
            "JSON (json://) at hooks.example.com:8080",
        ),
        ("mailto://bob:pw@example.com", "E-Mail (mailto://) at example.com:25"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "Slack (slack://)"),
        (
            "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
            "Slack (slack://)",
        ),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "Telegram (tgram://)"),
        ("ntfy://secret-topic", "ntfy (ntfy://)"),
    ],
)
def test_of_an_address_the_service_is_shown_and_the_host_where_it_is_no_secret(
    address: str, shown: str
) -> None:
    assert alert_delivery.check_address(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "", "nonsense", "https://example.com/hook", "json://", "slack://too/short", "custom://x",
        "json://a\nb", "json://" + "a" * 3000, "file:///etc/passwd", "FILE:///etc/passwd",
        "syslog://", "SysLog://local0", "dbus://", "qt://", "kde://", "glib://", "gnome://",
        "windows://", "macosx://", "blink1://", "vapid://mailer@example.com/x",
        "fcm://project@key/x?mode=oauth2&keyfile=/etc/passwd",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=/etc/passwd",
        "mailto://u:p@example.com?pgp=yes&pgpkey=/etc/passwd",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_read_or_that_leads_to_the_machine_itself_is_refused(
    address: str,
) -> None:
    with pytest.raises(alert_delivery.BadAddress) as caught:
        alert_delivery.check_address(address)
    assert "/etc/passwd" not in str(caught.value)


def test_every_place_of_apprises_that_is_not_across_the_network_is_refused() -> None:
    """A later version may add one that runs programs or has no host, token or target."""
    from apprise.manager_plugins import NotificationManager

    for plugin in NotificationManager().plugins():
        source = Path(sys.modules[plugin.__module__].__file__ or "").read_text()
        runs = any(
            word in source
            for word in (
                "import subprocess",
                "os.system(",
                "import dbus",
                "import gi\n",
                "import win32",
                "import hid",
            )
        )
        if runs or not plugin.template_tokens:
            names = [plugin.protocol, plugin.secure_protocol]
            schemas = {
                each
                for name in names
                if name
                for each in ([name] if isinstance(name, str) else name)
            }
            assert schemas <= alert_delivery.LOCAL, plugin.__name__


def test_an_address_cannot_keep_a_worker_waiting(receiver: Receiver) -> None:
    receiver.status = 500
    policy = EgressPolicy([AllowedDestination.read("json://127.0.0.1")])
    assert (
        alert_delivery.send(
            receiver.address + "&retry=9&wait=60&rto=900&cto=900", "a", "b", policy=policy
        )
        is not None
    )
    assert len(receiver.paths) == 1


def test_apprise_is_not_imported_before_something_is_sent() -> None:
    code = "import sys, dashboard.app, dashboard.blueprints; print('apprise' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "False"
