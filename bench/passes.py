"""Passes over the fleet: beside the ideal, beside the loop of the embedding page, with one worker and with two."""

from collections.abc import Iterator, Sequence
from statistics import median
from time import perf_counter

from flask import Flask

from bench.fleet import fill
from bench.report import Figure, middle
from bench.served import Site, site
from bench.stand_in import StandIn, stand_in
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.refresh import passes
from dashboard.refresh import service as refresh
from dashboard.refresh.tasks import start_refresh
from tests.support.databases import Servers, wait_for

LATENCY, ACCOUNTS, PASSES = 0.1, 1_600, 3
# More calls in flight, a larger fleet: each pass takes ten seconds, and its first and last calls weigh what they do in use.
FLEETS = ((ACCOUNTS, (8, 16)), (4 * ACCOUNTS, (32, 64)))
LOOPED = 10
RATE = 100
LARGE = 25_000
MEGABYTE = 1_000_000


def measure(servers: Servers) -> Iterator[Figure]:
    """Everything about passes."""
    for accounts, concurrencies in FLEETS:
        with stand_in(accounts) as api:
            yield from _beside_the_ideal(api, accounts, concurrencies)
    with stand_in(ACCOUNTS) as api:
        yield from _more_workers(api, servers)
    with stand_in(LARGE) as api:
        yield _memory(api)


def _beside_the_ideal(
    api: StandIn, accounts: int, concurrencies: Sequence[int]
) -> Iterator[Figure]:
    with site(api_url=api.url) as made:
        # The threads of the loop below and of the passes share this process, which is set up as a worker is.
        refresh.tune_interpreter()
        run_pass(made.make_app(dashboard_api_concurrency=16))
        api.turn(latency_ms=LATENCY * 1000)
        for concurrency in concurrencies:
            app, times, ideals = made.make_app(dashboard_api_concurrency=concurrency), [], []
            for _ in range(PASSES):
                before = api.calls()
                times.append(run_pass(app))
                ideals.append((api.calls() - before) * LATENCY / concurrency)
            what = f"the ideal, beside a pass over {accounts:,} accounts with {concurrency} calls in flight"
            yield Figure.ratio(1, what, ideals, times, least=0.9)
        an_account, a_call = _loop(made.app, api)
        whole = an_account * accounts
        loop = [whole / time for time in times]
        detail = f"{whole:.0f} s beside {median(times):.2f} s; {a_call * 1000:.0f} ms a call"
        yield Figure(
            1,
            "the embedding page's loop, beside the last of them",
            median(loop),
            30,
            None,
            middle(loop),
            detail,
        )
        calls = median(ideals) * concurrencies[-1] / LATENCY
        yield Figure(
            1,
            "calls of a steady pass, an account",
            calls / accounts,
            most=1.05,
            detail=f"{calls:.0f} calls, the list included",
        )


def _loop(app: Flask, api: StandIn) -> tuple[float, float]:
    """Seconds an account and a call: for each customer, for each connection, one after another."""
    parts: Services = app.extensions["services"]
    before, began = api.calls(), perf_counter()
    with app.app_context():
        accounts = next(iter(parts.api.account_pages()))[:LOOPED]
        for account in accounts:
            each = parts.api.for_account(account.id)
            for connection in each.connections():
                if not connection.is_warehouse:
                    each.runs(connection.id)
    took = perf_counter() - began
    return took / len(accounts), took / (api.calls() - before)


def _more_workers(api: StandIn, servers: Servers) -> Iterator[Figure]:
    with site(servers, api.url, dashboard_api_concurrency=8) as made:
        api.turn(latency_ms=0)
        run_pass(made.make_app(dashboard_api_concurrency=16))
        api.turn(latency_ms=LATENCY * 1000)
        made.start("worker")
        alone = [_worked_pass(made) for _ in range(PASSES)]
        made.start("worker")
        _worked_pass(made)
        together = [_worked_pass(made) for _ in range(PASSES)]
        yield Figure.ratio(
            4, "a pass with one worker, beside one with two", alone, together, least=1.7
        )
    with site(servers, api.url, dashboard_api_concurrency=32, dashboard_api_rate=RATE) as made:
        for _ in range(2):
            made.start("worker")
        api.turn(latency_ms=0)
        run_pass(made.make_app(dashboard_api_concurrency=16, dashboard_api_rate=""))
        api.reset()
        api.turn(latency_ms=LATENCY * 1000)
        took = _worked_pass(made)
        state = api.state()
        calls = sum(state["calls"].values())
        detail = f"{state['busiest_second']} calls with two workers; {calls / took:.0f} a second over the whole pass"
        yield Figure(
            1,
            f"the busiest second, beside the limit of {RATE}",
            state["busiest_second"] / RATE,
            most=1,
            detail=detail,
        )


def _memory(api: StandIn) -> Figure:
    with site(api_url=api.url, dashboard_api_concurrency=16) as made:
        fill(made.app, 4 * LARGE)
        worker = made.start("worker")
        took = _worked_pass(made)
        with open(f"/proc/{worker.pid}/status") as status:
            kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        most = kilobytes * 1024 / MEGABYTE
        detail = f"{LARGE:,} accounts in {took:.0f} s, all with news, no latency"
        return Figure(1, "the most memory of a worker (MB)", most, most=150, detail=detail)


def run_pass(app: Flask) -> float:
    """A pass in this process; its seconds."""
    parts: Services = app.extensions["services"]
    with app.app_context():
        began = perf_counter()
        result = refresh.refresh_fleet(parts)
        took = perf_counter() - began
        assert result.error is None, result.error
        db.session.remove()
        db.engine.dispose()
    return took


def _worked_pass(made: Site) -> float:
    """A pass by the workers that run; its seconds, as the store has them."""
    parts: Services = made.app.extensions["services"]
    with made.app.app_context():
        opened = passes.start_or_join(parts.clock())
        pass_id = opened.id
        start_refresh()

        def ended() -> bool:
            db.session.rollback()
            return passes.get(pass_id).active is None

        wait_for(ended, "the pass ends", within=900)
        found = passes.get(pass_id)
        assert found.error is None, found.error
        assert found.ended_at is not None
        took = (found.ended_at - found.started_at).total_seconds()
        db.session.remove()
    return took
