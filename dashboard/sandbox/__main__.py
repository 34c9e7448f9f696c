"""The command ``python -m dashboard.sandbox``: serves the sandbox alone, until Ctrl-C."""

import argparse
import os

from dashboard.sandbox.app import SandboxOptions, build_sandbox
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
    """Read the command line's options and serve."""
    parser = argparse.ArgumentParser(
        "python -m dashboard.sandbox",
        description="A sandbox that emulates Peliqan's API.",
        epilog=f"scenarios:\n{listing()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser)
    given = parser.parse_args()
    secret = given.webhook_secret
    options = SandboxOptions(
        accounts=given.accounts,
        seed=given.seed,
        partner_token=given.partner_token,
        latency_ms=given.latency_ms,
        error_rate=given.error_rate,
        run_seconds=given.run_seconds,
        public_url=given.public_url,
        scenario=given.scenario,
        webhook_url=given.webhook_url,
        webhook_secret=os.environ.get(SECRET_SETTING, "") if secret is None else secret,
        warehouse_url=given.warehouse_url or os.environ.get(WAREHOUSE_SETTING, ""),
    )
    try:
        app = build_sandbox(options)
    except ValueError as error:
        parser.error(str(error))
    serve(app, given.host, given.port, given.threads)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8901)
    add("--threads", type=int, default=64)
    add("--accounts", type=int, default=200, help="the number of customers")
    add("--seed", type=int, default=1, help="the seed; each seed makes another fleet")
    add(
        "--scenario",
        default="",
        choices=SCENARIOS,
        metavar="NAME",
        help="a known problem of the fleet: see below",
    )
    add("--latency-ms", type=float, default=0)
    add("--error-rate", type=_share, default=0.0, help="share of calls that fail, 0 to 1")
    add("--partner-token", default="sandbox-partner-token")
    add("--run-seconds", type=_seconds, default=(3.0, 9.0), metavar="LEAST,MOST")
    add("--public-url", help="the address for browsers, used in consent and invite links")
    add("--webhook-url", default="", metavar="URL", help="the address that webhooks are sent to")
    add(
        "--webhook-secret",
        metavar="SECRET",
        help=f"the secret that signs them; default: the variable {SECRET_SETTING}",
    )
    add(
        "--warehouse-url",
        metavar="URL",
        help=f"a PostgreSQL database for SQL; default: the variable {WAREHOUSE_SETTING}",
    )


if __name__ == "__main__":
    main()
