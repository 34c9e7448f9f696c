"""Commands for users of an identity provider: ``users hand-over`` and ``users move-issuer``."""

import click

from dashboard.audit import service as audit
from dashboard.cli.common import make_current_app
from dashboard.cli.users import WHO, get_user
from dashboard.context import utc_now
from dashboard.settings_types import origin
from dashboard.users import issuers, oidc_users


@click.command("hand-over")
@click.argument("email")
def hand_over(email: str) -> None:
    """Hand a user over to the provider. The password works until the first sign-in there."""
    from dashboard.users.views.oidc import ProviderUnavailable, provider

    with make_current_app(pages=True).app_context():
        current, user = provider(), get_user(email)
        if current is None:
            raise click.ClickException(
                "No provider is set up: set DASHBOARD_OIDC_ISSUER. Nothing was changed."
            )
        try:
            current.metadata(refresh=True)
        except ProviderUnavailable as away:
            sentence = (
                f"{current.name} cannot be asked ({away}), so {user.email} could not sign in there."
                " Nothing was changed."
            )
            raise click.ClickException(sentence) from None
        oidc_users.hand_over(user, current.issuer)
        audit.record(
            utc_now(), WHO, "hand_over", audit.DONE, detail=f"{user.email} to {current.issuer}"
        )
        click.echo(
            f"{user.email} is handed over to {current.issuer}, and signs in as before until they"
            " have signed in there once."
        )


@click.command("move-issuer")
@click.argument("old")
@click.argument("new")
def move_issuer(old: str, new: str) -> None:
    """Bind all users of the issuer OLD to NEW, its new address. Its subjects must be the same.

    All users or none. Entra ID has other subjects in another tenant and for another client: hand
    the users over again there.
    """
    try:
        new_issuer = origin(new)
    except ValueError as error:
        raise click.ClickException(f"{new} {error}.") from None
    with make_current_app().app_context():
        try:
            count = issuers.move(old.rstrip("/"), new_issuer, WHO, utc_now())
        except issuers.MoveError as error:
            raise click.ClickException(str(error)) from None
        click.echo(
            f"{count} {'person is' if count == 1 else 'people are'} bound to {new_issuer} now."
        )
