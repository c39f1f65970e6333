"""Figures for whoever watches the server, in Prometheus' text format: for this machine, or with a token."""

from __future__ import annotations

import hmac
import shutil
from typing import get_args

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from flux_svd.job import State
from flux_svd.ledger import Ledger
from flux_svd.standing import WAIT_BUCKETS
from flux_svd.web.desk import Desk
from flux_svd.web.guard import is_loopback

_NAMES = {
    "out of memory": "flux_svd_out_of_memory_total",
    "out of memory, mended": "flux_svd_out_of_memory_mended_total",  # the job went on, a rung lower
    "bad output": "flux_svd_bad_output_total",
    "leases lost": "flux_svd_leases_lost_total",
    "came too late": "flux_svd_late_claims_total",
}


def metrics_route(desk: Desk, ledger: Ledger, token: str = "") -> Route:
    """Return the route /metrics.

    It answers a program of this machine that asked it by its own name, and with `token` whoever sends that as a bearer.
    """

    async def metrics(request: Request) -> Response:
        if not _may_see(request, token):
            return PlainTextResponse("not found", 404)
        words = await run_in_threadpool(figures, desk, ledger)
        return PlainTextResponse(words, media_type="text/plain; version=0.0.4", headers={"Cache-Control": "no-store"})

    return Route("/metrics", metrics)


def figures(desk: Desk, ledger: Ledger) -> str:
    """Return all figures; jobs that a full or partial loss of the database forgot are not among them."""
    counts, tallies = ledger.counts(), ledger.tallies()
    lines = ["# TYPE flux_svd_jobs gauge"]
    lines += [f'flux_svd_jobs{{state="{state}"}} {counts.get(state, 0)}' for state in get_args(State)]
    lines.append("# TYPE flux_svd_jobs_ended_total counter")
    lines += [
        f'flux_svd_jobs_ended_total{{state="{name[6:]}"}} {value:g}'
        for name, value in tallies.items()
        if name.startswith("ended ")
    ]
    for what, metric in (("wait", "flux_svd_wait_seconds"), ("run", "flux_svd_run_seconds")):
        lines += _histogram(tallies, what, metric)
    for name, metric in _NAMES.items():
        lines += [f"# TYPE {metric} counter", f"{metric} {tallies.get(name, 0):g}"]
    places = {"data": desk.session.home, "results": desk.session.output_dir}
    lines.append("# TYPE flux_svd_disk_free_bytes gauge")
    for place, path in places.items():
        while not path.exists():
            path = path.absolute().parent
        lines.append(f'flux_svd_disk_free_bytes{{place="{place}"}} {shutil.disk_usage(path).free}')
    lines += ["# TYPE flux_svd_workers gauge", f"flux_svd_workers {ledger.workers()}"]
    lines += ["# TYPE flux_svd_queue_paused gauge", f"flux_svd_queue_paused {int(ledger.is_paused())}"]
    return "\n".join(lines) + "\n"


def _histogram(tallies: dict[str, float], what: str, metric: str) -> list[str]:
    lines = [f"# TYPE {metric} histogram"]
    for kind in sorted({name.split()[1] for name in tallies if name.startswith(f"{what} ")}):
        total = 0.0
        for limit in (*WAIT_BUCKETS, float("inf")):
            total += tallies.get(f"{what} {kind} {limit:g}", 0)
            shown = "+Inf" if limit == float("inf") else f"{limit:g}"
            lines.append(f'{metric}_bucket{{kind="{kind}",le="{shown}"}} {total:g}')
        lines.append(f'{metric}_sum{{kind="{kind}"}} {tallies.get(f"{what} {kind} sum", 0):.3f}')
        lines.append(f'{metric}_count{{kind="{kind}"}} {total:g}')
    return lines


def _may_see(request: Request, token: str) -> bool:
    sent = request.headers.get("authorization", "")
    if token and hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
        return True
    # A proxy on this machine asks from it too; it names another host, or whom it asks for.
    from_here = request.client is not None and is_loopback(request.client.host) and is_loopback(request.headers.get("host", ""))
    return from_here and not {"forwarded", "x-forwarded-for", "x-real-ip"} & set(request.headers.keys())
