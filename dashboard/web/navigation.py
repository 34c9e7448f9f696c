"""The navigation: the bar on top of every page, and the tabs of groups of pages."""

from typing import Final, NamedTuple


class NavigationItem(NamedTuple):
    """A link of a menu. ``role``: the least role that sees it."""

    endpoint: str
    label: str
    role: str


# The bar on top of every page.
NAVIGATION: Final = (
    NavigationItem("overview.show", "Overview", "viewer"),
    NavigationItem("accounts.index", "Accounts", "viewer"),
    NavigationItem("connections.index", "Connections", "viewer"),
    NavigationItem("causes.index", "Causes", "viewer"),
    NavigationItem("desk.index", "Desk", "viewer"),
    NavigationItem("queries.index", "SQL", "operator"),
    NavigationItem("embed.show", "Widget", "operator"),
    NavigationItem("admin.audit_index", "Admin", "admin"),
)
# The tabs of the administrators' pages.
ADMIN_NAVIGATION: Final = (
    NavigationItem("admin.audit_index", "Audit trail", "admin"),
    NavigationItem("admin.users", "Users", "admin"),
    NavigationItem("alerts.index", "Alerts", "admin"),
    NavigationItem("alerts.messages", "Alerts sent", "admin"),
    NavigationItem("webhooks.index", "Webhooks", "admin"),
    NavigationItem("pulls.index", "Pulls", "admin"),
    NavigationItem("deliveries.index", "Deliveries", "admin"),
)
# The tabs of the pages of links that wait for customers.
LINK_NAVIGATION: Final = (
    NavigationItem("desk.index", "Links", "viewer"),
    NavigationItem("desk.needed", "Must act", "viewer"),
    NavigationItem("banks.index", "Bank consents", "viewer"),
)
