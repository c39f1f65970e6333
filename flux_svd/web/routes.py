"""The routes for programs under /api/v1: jobs, their events and results, the library. One table makes routes and description."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from flux_svd.errors import DiskFull, DoesNotFit, FluxSvdError, InvalidRequest, ModelUnavailable, QueueFull, StorageFailed
from flux_svd.formats import FORMATS
from flux_svd.job import ENDED
from flux_svd.web import query
from flux_svd.web.actions import ACTIONS, Action, Actions, NotFound, NotNow
from flux_svd.web.owner import may_list, owner_of
from flux_svd.web.queued import LOOK_SECONDS, TELL_SECONDS

BASE = "/api/v1"
ALIVE_SECONDS = 15.0  # a line that says nothing, so that proxies and clients know the stream lives
RETRY_SECONDS = 10  # what a full queue tells its asker to wait

Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """One thing that can be asked.

    Attributes:
        path: below `BASE`, with {names}.
        query: names of query parameters with what they mean.
        body: what the body holds: "request" (of a picture or film), "" for none.
        answers: what comes back, by status; refusals are the same everywhere.
    """

    method: str
    path: str
    summary: str
    answer: Answer
    query: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "as JSON"})


def endpoints(actions: Actions, send: Callable[..., Response]) -> list[Endpoint]:
    """Return everything that can be asked; `send` answers with the file of a result."""
    filters = {
        "words": "all of them in prompt or name", "kind": "image or video", "model": "name of a model",
        "since": "seconds since 1970", "until": "seconds since 1970", "min_score": "cosine of picture and prompt",
        "starred": "true or false", "limit": "at most so many", "offset": "leave out so many",
    }  # fmt: skip

    async def submit(request: Request) -> Response:
        fields = await _fields(request)
        key = request.headers.get("idempotency-key", "")
        job = await run_in_threadpool(actions.submit, fields, owner_of(request.cookies), key)
        return JSONResponse(job, 201, headers={"Location": f"/{job['url']}"})

    async def plan(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(actions.plan, await _fields(request)))

    async def jobs(request: Request) -> Response:
        if not may_list(request):
            return JSONResponse({"jobs": [], "paused": False})
        asked = request.query_params
        owner, limit = owner_of(request.cookies), query.whole(asked, "limit", 50)
        return JSONResponse(await run_in_threadpool(actions.jobs, owner, asked.get("state", ""), limit))

    async def job(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(actions.job, request.path_params["id"], owner_of(request.cookies)))

    async def events(request: Request) -> Response:
        job_id, owner = request.path_params["id"], owner_of(request.cookies)
        first = await run_in_threadpool(actions.job, job_id, owner)  # refused before the stream begins
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(actions, first, owner), media_type="text/event-stream", headers=headers)

    async def result(request: Request) -> Response:
        number = query.whole(request.path_params, "number", 1)
        path = await run_in_threadpool(actions.result, request.path_params["id"], number, owner_of(request.cookies))
        return await run_in_threadpool(functools.partial(send, path, download="download" in request.query_params))

    async def preview(request: Request) -> Response:
        path = await run_in_threadpool(actions.preview, request.path_params["id"], owner_of(request.cookies))
        if not path.is_file():
            raise NotFound("preview", request.path_params["id"], "a job that is being drawn")
        return FileResponse(path, media_type="image/webp", headers={"Cache-Control": "no-store"})

    def acting(action: Action) -> Answer:
        async def act(request: Request) -> Response:
            owner = owner_of(request.cookies)
            return JSONResponse(await run_in_threadpool(actions.act, request.path_params["id"], action, owner))

        return act

    async def search(request: Request) -> Response:
        if not may_list(request):
            return JSONResponse({"results": []})
        asked = request.query_params
        found = functools.partial(
            actions.search, owner_of(request.cookies), asked.get("words", ""), asked.get("kind"), asked.get("model"),
            since=query.number(asked, "since"), until=query.number(asked, "until"), min_score=query.number(asked, "min_score"),
            starred=query.truth(asked, "starred"), limit=query.whole(asked, "limit", 50), offset=query.whole(asked, "offset", 0),
        )  # fmt: skip
        return JSONResponse(await run_in_threadpool(found))

    async def details(request: Request) -> Response:
        named, owner = request.query_params.get("file", ""), owner_of(request.cookies)
        return JSONResponse(await run_in_threadpool(actions.details, named, owner))

    async def file(request: Request) -> Response:
        item = await run_in_threadpool(actions.item, request.query_params.get("file", ""), owner_of(request.cookies))
        return await run_in_threadpool(functools.partial(send, item.path, download="download" in request.query_params))

    async def star(request: Request) -> Response:
        starred = query.truth(request.query_params, "starred") is not False
        named, owner = request.query_params.get("file", ""), owner_of(request.cookies)
        return JSONResponse(await run_in_threadpool(actions.star, named, starred, owner))

    async def enlarge(request: Request) -> Response:
        named, owner = request.query_params.get("file", ""), owner_of(request.cookies)
        scale = query.whole(request.query_params, "scale", 2)
        return JSONResponse(await run_in_threadpool(actions.enlarge, named, scale, owner), 201)

    async def export(request: Request) -> Response:
        asked, owner = request.query_params, owner_of(request.cookies)
        wish: dict[str, Any] = {name: query.whole_or_none(asked, name) for name in ("fps", "crf")}
        wish["densify"] = query.truth(asked, "densify") is True
        kind = asked.get("format", "mp4")
        return JSONResponse(await run_in_threadpool(actions.export, asked.get("file", ""), kind, wish, owner), 201)

    async def delete(request: Request) -> Response:
        named, owner = request.query_params.get("file", ""), owner_of(request.cookies)
        return JSONResponse(await run_in_threadpool(actions.delete, named, owner))

    async def restore(request: Request) -> Response:
        thrown, owner = request.query_params.get("thrown", ""), owner_of(request.cookies)
        return JSONResponse(await run_in_threadpool(actions.restore, thrown, owner))

    one = {"file": "as a search names it"}
    did = {
        "cancel": "stop a job: at once, or at its next step; finished parts are kept",
        "pause": "let a job wait until it is resumed", "resume": "let a paused job go on",
        "retry": "let a failed or cancelled job wait again", "up": "put a waiting job before your other jobs",
    }  # fmt: skip
    return [
        Endpoint("POST", "/jobs", "Ask for a picture or a film; the same Idempotency-Key gives the same job again.", submit,
                 body="request", answers={201: "the job", 429: "the queue is full"}),
        Endpoint("GET", "/jobs", "Your newest jobs.", jobs, {"state": "unfinished, or one state", "limit": "at most so many"}),
        Endpoint("GET", "/jobs/{id}", "A job as it stands.", job),
        Endpoint("GET", "/jobs/{id}/events", "A job as server-sent events, until it has ended.", events,
                 answers={200: "text/event-stream: events named job, then one named end"}),
        Endpoint("GET", "/jobs/{id}/results/{number}", "A finished file of a job, counted from 1.", result,
                 {"download": "offer it as a download"}, answers={200: "image/png or video/mp4"}),
        Endpoint("GET", "/jobs/{id}/preview", "What a job is drawing.", preview, answers={200: "image/webp"}),
        *(Endpoint("POST", f"/jobs/{{id}}/{action}", f"{did[action].capitalize()}.", acting(action)) for action in ACTIONS),
        Endpoint("POST", "/plans", "What would happen, without doing it.", plan, body="request"),
        Endpoint("GET", "/library", "Your newest results.", search, filters),
        Endpoint("GET", "/library/details", "Request, recipe, run facts and report of a result.", details, one),
        Endpoint("GET", "/library/file", "A result itself.", file, {**one, "download": "offer it as a download"},
                 answers={200: "image/png or video/mp4"}),
        Endpoint("POST", "/library/star", "Mark a result, or take its mark away.", star, {**one, "starred": "true or false"}),
        Endpoint("POST", "/library/enlarge", "Make a larger copy of a picture, by interpolation.", enlarge,
                 {**one, "scale": "2 or 4"}, answers={201: "the copy, a result of its own"}),
        Endpoint("POST", "/library/export", "Make a film as another kind of file.", export,
                 {**one, "format": ", ".join(FORMATS), "fps": "frames a second", "crf": "quality, smaller is better",
                  "densify": "true: twice the frames, guessed between the others"},
                 answers={201: "its address, for a day"}),
        Endpoint("POST", "/library/delete", "Throw a result away.", delete, one, answers={200: "with the id to restore it by"}),
        Endpoint("POST", "/library/restore", "Put a result back.", restore, {"thrown": "the id that throwing it away gave"}),
    ]  # fmt: skip


def api_routes(table: list[Endpoint]) -> list[BaseRoute]:
    """Return the routes of the table; every refusal is JSON."""
    return [Route(BASE + one.path, _told(one.answer), methods=[one.method]) for one in table]


def refusal(error: FluxSvdError) -> JSONResponse:
    """Return the answer that says what was wrong: kind, message and, where one is to blame, field, value and what is allowed."""
    told: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, InvalidRequest):
        told |= {"field": error.field, "value": error.value, "allowed": error.allowed}
    kinds: tuple[tuple[type[FluxSvdError], int], ...] = (
        (NotFound, 404), (NotNow, 409), (_Unsupported, 415), (InvalidRequest, 422), (ModelUnavailable, 409), (DoesNotFit, 409),
        (QueueFull, 429), (DiskFull, 507), (StorageFailed, 503),
    )  # fmt: skip
    status = next((status for kind, status in kinds if isinstance(error, kind)), 500)
    return JSONResponse({"error": told}, status, headers={"Retry-After": str(RETRY_SECONDS)} if status == 429 else {})


class _Unsupported(InvalidRequest):
    """The body is not JSON by its own account."""


def _told(answer: Answer) -> Answer:
    async def told(request: Request) -> Response:
        try:
            return await answer(request)
        except FluxSvdError as error:
            return refusal(error)

    return told


async def _events(actions: Actions, told: dict[str, Any], owner: str) -> AsyncIterator[str]:
    """Yield the job whenever it has changed; what is only progress at most once a second."""
    yield _event("job", told)
    loop = asyncio.get_running_loop()
    told_at = loop.time()
    while told["state"] not in ENDED:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            now = await run_in_threadpool(actions.job, told["id"], owner)
        except FluxSvdError:
            return  # forgotten meanwhile
        since = loop.time() - told_at
        news = (now["state"], now["wish"], now["results"]) != (told["state"], told["wish"], told["results"])
        if news or (now != told and since >= TELL_SECONDS):
            told, told_at = now, loop.time()
            yield _event("job", told)
        elif since >= ALIVE_SECONDS:
            told_at = loop.time()
            yield ": waiting\n\n"
    yield _event("end", told)


def _event(name: str, value: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"


async def _fields(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise _Unsupported("Content-Type", kind, "application/json")
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise InvalidRequest("body", "not JSON", 'an object, for example {"kind": "image", "prompt": "a red circle"}') from None
    if not isinstance(fields, dict):
        raise InvalidRequest("body", type(fields).__name__, "an object of the fields of a request")
    return fields
