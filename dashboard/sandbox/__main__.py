"""``python -m dashboard.sandbox``: the stand-in alone, until Ctrl-C."""

import argparse
import os

from dashboard.sandbox.app import create_sandbox
from dashboard.sandbox.scenarios import SCENARIOS, listing
from dashboard.sandbox.server import serve

SECRET_SETTING = "SANDBOX_WEBHOOK_SECRET"
WAREHOUSE_SETTING = "SANDBOX_WAREHOUSE_URL"


def _seconds(text: str) -> tuple[float, float]:
    try:
        least, most = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("two numbers with a comma between, as in 3,9") from None
    if not 0 <= least <= most:
        raise argparse.ArgumentTypeError("the first is at least 0 and at most the second")
    return least, most


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("a share is between 0 and 1")
    return value


def main() -> None:
    """Read the options and serve."""
    options = argparse.ArgumentParser(
        "python -m dashboard.sandbox",
        description="A stand-in for Peliqan's API.",
        epilog=f"scenarios:\n{listing()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8901)
    options.add_argument("--threads", type=int, default=64)
    options.add_argument("--accounts", type=int, default=200, help="how many customers")
    options.add_argument("--seed", type=int, default=1, help="another seed, another fleet")
    options.add_argument(
        "--scenario",
        default="",
        choices=SCENARIOS,
        metavar="NAME",
        help="what goes wrong: see below",
    )
    options.add_argument("--latency-ms", type=float, default=0)
    options.add_argument(
        "--error-rate", type=_share, default=0.0, help="share of calls that fail, 0 to 1"
    )
    options.add_argument("--partner-token", default="sandbox-partner-token")
    options.add_argument("--run-seconds", type=_seconds, default=(3.0, 9.0), metavar="LEAST,MOST")
    options.add_argument(
        "--public-url", help="where browsers find it, for consent and invite links"
    )
    options.add_argument(
        "--webhook-url", default="", metavar="URL", help="where webhooks are posted to"
    )
    options.add_argument(
        "--webhook-secret",
        metavar="SECRET",
        help=f"what they are signed with; {SECRET_SETTING} otherwise",
    )
    options.add_argument(
        "--warehouse-url",
        metavar="URL",
        help=f"a PostgreSQL database for SQL; {WAREHOUSE_SETTING} otherwise",
    )
    told = options.parse_args()
    secret = (
        os.environ.get(SECRET_SETTING, "") if told.webhook_secret is None else told.webhook_secret
    )
    try:
        app = create_sandbox(
            told.accounts, told.seed, told.partner_token, told.latency_ms, told.error_rate,
            run_seconds=told.run_seconds, public_url=told.public_url, scenario=told.scenario,
            webhook_url=told.webhook_url, webhook_secret=secret,
            warehouse_url=told.warehouse_url or os.environ.get(WAREHOUSE_SETTING, ""),
        )  # fmt: skip
    except ValueError as error:
        options.error(str(error))
    serve(app, told.host, told.port, told.threads)


if __name__ == "__main__":
    main()
