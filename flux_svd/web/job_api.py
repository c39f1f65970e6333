"""Public endpoints about jobs and results: the same things as the routes under /api/v1, for gradio_client."""

from __future__ import annotations

from typing import Any

import gradio as gr

from flux_svd.errors import InvalidRequest
from flux_svd.web.actions import ACTIONS, Actions
from flux_svd.web.desk import visitor_of
from flux_svd.web.owner import may_list


def job_endpoints(actions: Actions) -> dict[str, Any]:
    """Return the endpoints by name."""

    def submit_job(request: gr.Request, wish: dict[str, Any], key: str = "") -> dict[str, Any]:
        """Ask for a picture or film, as {"kind": "image", "prompt": …}, and return the job; it goes on without the caller.
        The same key gives the same job again."""
        return actions.submit(wish, visitor_of(request).owner, key)

    def job(request: gr.Request, id: str) -> dict[str, Any]:
        """Say how a job stands, with the addresses of its results."""
        return actions.job(id, visitor_of(request).owner)

    def jobs(request: gr.Request, state: str = "", limit: int = 50) -> dict[str, Any]:
        """List the newest jobs; `state` may be unfinished, or one state."""
        return actions.jobs(visitor_of(request).owner, state, limit) if may_list(request.request) else {"jobs": []}

    def job_action(request: gr.Request, id: str, action: str) -> dict[str, Any]:
        """Cancel, pause, resume or retry a job, or move it up before your others; return it as it then stands."""
        known = next((one for one in ACTIONS if one == action), None)
        if known is None:
            raise InvalidRequest("action", action, ", ".join(ACTIONS))
        return actions.act(id, known, visitor_of(request).owner)

    def library(
        request: gr.Request,
        words: str = "",
        kind: str | None = None,
        model: str | None = None,
        min_score: float | None = None,
        starred: bool | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> dict[str, Any]:
        """Search results, newest first; all of the words must be in the prompt or the name."""
        if not may_list(request.request):
            return {"results": []}
        owner = visitor_of(request).owner
        return actions.search(owner, words, kind, model, min_score=min_score, starred=starred, limit=limit, offset=offset)

    def result(request: gr.Request, file: str) -> dict[str, Any]:
        """Tell everything about a result that a search named: request, recipe, run facts, and of a film its report."""
        visitor = visitor_of(request)
        path = actions.item(file, visitor.owner).path
        return {**actions.details(file, visitor.owner), "url": actions.desk.address(path, visitor)}

    def star_result(request: gr.Request, file: str, starred: bool = True) -> dict[str, Any]:
        """Mark a result, or take its mark away."""
        return actions.star(file, starred, visitor_of(request).owner)

    def enlarge_result(request: gr.Request, file: str, scale: int = 2) -> dict[str, Any]:
        """Make a copy of a picture 2 or 4 times as large, by interpolation; it is a result of its own."""
        visitor = visitor_of(request)
        copy = actions.enlarge(file, scale, visitor.owner)
        return {**copy, "url": actions.desk.address(actions.item(copy["file"], visitor.owner).path, visitor)}

    def export_result(
        request: gr.Request, file: str, format: str, fps: int | None = None, crf: int | None = None, densify: bool = False
    ) -> dict[str, Any]:
        """Make a film as another kind of file and return its `url`, which lasts for a day."""
        return actions.export(file, format, {"fps": fps, "crf": crf, "densify": densify}, visitor_of(request).owner)

    def delete_result(request: gr.Request, file: str) -> dict[str, Any]:
        """Throw a result away; `thrown` is the id to restore it by, as long as the trash keeps it."""
        return actions.delete(file, visitor_of(request).owner)

    def restore_result(request: gr.Request, thrown: str) -> dict[str, Any]:
        """Put a result back from the trash."""
        return actions.restore(thrown, visitor_of(request).owner)

    on_jobs, on_results = (submit_job, job, jobs, job_action), (library, result, star_result, enlarge_result, export_result)
    return {one.__name__: one for one in (*on_jobs, *on_results, delete_result, restore_result)}
