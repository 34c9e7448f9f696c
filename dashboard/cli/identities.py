"""Commands for people who sign in at a provider: hand one over, and move all to the issuer's new address."""

import click

from dashboard.audit import service as audit
from dashboard.cli.common import make_current_app
from dashboard.cli.manage import WHO, get_user
from dashboard.context import utc_now
from dashboard.settings_types import origin
from dashboard.users import issuers, oidc_users


@click.command("hand-over")
@click.argument("email")
def hand_over(email: str) -> None:
    """Have the provider vouch for a person. Their password works until they first sign in there, which removes it."""
    from dashboard.users.views.oidc import ProviderUnavailable, provider

    with make_current_app(pages=True).app_context():
        there, user = provider(), get_user(email)
        if there is None:
            raise click.ClickException(
                "No provider is set up: set DASHBOARD_OIDC_ISSUER. Nothing was changed."
            )
        try:
            there.metadata(refresh=True)
        except ProviderUnavailable as away:
            sentence = f"{there.name} cannot be asked ({away}), so {user.email} could not sign in there. Nothing was changed."
            raise click.ClickException(sentence) from None
        oidc_users.hand_over(user, there.issuer)
        audit.record(
            utc_now(), WHO, "hand_over", audit.DONE, detail=f"{user.email} to {there.issuer}"
        )
        click.echo(
            f"{user.email} is handed over to {there.issuer}, and signs in as before until they have signed in there once."
        )


@click.command("move-issuer")
@click.argument("old")
@click.argument("new")
def move_issuer(old: str, new: str) -> None:
    """Bind everybody of the issuer OLD to NEW, where its address changed and it calls people by the same subjects.

    All or nothing. Entra ID has other subjects in another tenant and for another client: hand people over again there.
    """
    try:
        there = origin(new)
    except ValueError as error:
        raise click.ClickException(f"{new} {error}.") from None
    with make_current_app().app_context():
        try:
            count = issuers.move(old.rstrip("/"), there, WHO, utc_now())
        except issuers.MoveError as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"{count} {'person is' if count == 1 else 'people are'} bound to {there} now.")
