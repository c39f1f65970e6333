"""The description of the routes for programs, as OpenAPI 3.1 and as a page that loads nothing from anywhere."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from flux_svd import __version__
from flux_svd.request import ImageRequest, VideoRequest
from flux_svd.web.routes import BASE, Endpoint

_REFUSALS = {
    "404": "There is no such thing of yours.",
    "409": "The model is not here, or nothing fits; the message says what would.",
    "415": "The body is not application/json.",
    "422": "A value is not accepted: field, value and what is allowed.",
    "429": "Too much at once: the queue is full, or too many requests; Retry-After says for how long.",
}
_STYLE = (
    "body{font:16px/24px system-ui,sans-serif;max-width:72ch;margin:32px auto;padding:0 16px;color-scheme:light dark}"
    "h2{font-size:16px;margin:32px 0 0}code,pre{font:14px/20px ui-monospace,monospace}pre{overflow-x:auto}"
    "dt{margin-top:8px}dd{margin:0 0 0 24px}"
)


def describe(table: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI description of the table."""
    paths: dict[str, dict[str, Any]] = {}
    for one in table:
        paths.setdefault(BASE + one.path, {})[one.method.lower()] = _operation(one)
    schemas: dict[str, Any] = {}
    for kind in (ImageRequest, VideoRequest):
        schema = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[kind.__name__] = schema
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flux_svd", "version": __version__,
            "description": "Jobs and results. Addresses in answers are relative to the app's own. Times are seconds since 1970.",
        },
        "paths": paths,
        "components": {"schemas": {**schemas, "Refusal": _REFUSAL}},
    }  # fmt: skip


def description_routes(table: Sequence[Endpoint]) -> list[BaseRoute]:
    told = describe(table)
    page = _page(table)

    async def as_json(request: Request) -> Response:
        return JSONResponse(told)

    async def as_page(request: Request) -> Response:
        return HTMLResponse(page)

    return [Route(f"{BASE}/openapi.json", as_json), Route(BASE, as_page), Route(f"{BASE}/docs", as_page)]


_REFUSAL = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "required": ["kind", "message"],
            "properties": {name: {"type": "string"} for name in ("kind", "message", "field", "value", "allowed")},
        }
    },
}


def _operation(one: Endpoint) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"{(\w+)}", one.path)
    ]
    parameters += [
        {"name": name, "in": "query", "description": words, "schema": {"type": "string"}} for name, words in one.query.items()
    ]
    answers: dict[str, Any] = {str(status): {"description": words} for status, words in one.answers.items()}
    for status, words in _REFUSALS.items():
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
        answers.setdefault(status, {"description": words})["content"] = content
    told: dict[str, Any] = {"summary": one.summary, "parameters": parameters, "responses": answers}
    if one.body:
        kinds = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in (ImageRequest, VideoRequest)]
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"oneOf": kinds}}}}
    return told


def _page(table: Sequence[Endpoint]) -> str:
    parts = []
    for one in table:
        asked = "".join(
            f"<dt><code>{html.escape(name)}</code></dt><dd>{html.escape(text)}</dd>" for name, text in one.query.items()
        )
        answers = ", ".join(f"{status}: {html.escape(words)}" for status, words in one.answers.items())
        name = f"<h2><code>{one.method} {BASE}{html.escape(one.path)}</code></h2>"
        parts.append(f"{name}<p>{html.escape(one.summary)} Answers {answers}.</p>" + (f"<dl>{asked}</dl>" if asked else ""))
    example = json.dumps({"kind": "image", "prompt": "a red circle on a blue background", "seed": 7})
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>flux_svd for programs</title><style>{_STYLE}</style><h1>flux_svd for programs</h1>"
        '<p>The fields of requests are in <a href="/api/v1/openapi.json">openapi.json</a>. Pictures to work from are sent as the '
        "plain body to <code>POST /pictures/upload</code>, which answers with their id. A refusal names kind, message, field, "
        f"value and what is allowed.</p><pre>curl -H 'Content-Type: application/json' -d '{html.escape(example)}' \\\n"
        f"  http://127.0.0.1:7860{BASE}/jobs</pre>{''.join(parts)}</html>"
    )
