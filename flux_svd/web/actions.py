"""What programs can ask about jobs and results, as plain functions; the routes and the named endpoints both speak through them.

Whatever is not the asker's does not exist for them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args

from flux_svd import files
from flux_svd.errors import InvalidRequest, UnreadableFile
from flux_svd.job import ENDED, Job, State
from flux_svd.library import Item, Library
from flux_svd.plan import describe_plan
from flux_svd.results import sidecar_of
from flux_svd.upscale import SCALES
from flux_svd.web.desk import Desk
from flux_svd.web.exports import ExportRoutes
from flux_svd.web.queued import Queued, next_step

Action = Literal["cancel", "pause", "resume", "retry", "up"]
ACTIONS: tuple[Action, ...] = get_args(Action)
LIST_MAX = 200  # jobs or results in one answer


class NotFound(InvalidRequest):
    """There is no such job or result of the asker."""


class NotNow(InvalidRequest):
    """A job is in no state for what was asked of it."""


class Actions:
    """Jobs and results of one desk whose work lives in the server; `exports` makes other files of its films."""

    def __init__(self, desk: Desk, queued: Queued, exports: ExportRoutes) -> None:
        self.desk, self._queued, self._ledger, self._exports = desk, queued, queued.ledger, exports
        self._library: Library | None = None
        self._lock = threading.Lock()

    def plan(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return what would happen, without doing it."""
        return describe_plan(self.desk.plan(fields, considering=True))

    def submit(self, fields: Mapping[str, Any], owner: str, key: str = "") -> dict[str, Any]:
        """Return the job that carries out a request; the same key of the same owner gives the same job again.

        Raises:
            InvalidRequest, ModelUnavailable, DoesNotFit: as the planner says.
            QueueFull: with how many there are and may be.
        """
        if len(key) > 200 or not key.isprintable():
            raise InvalidRequest("Idempotency-Key", key, "at most 200 characters that can be printed")
        return self.job(self._queued.start(self.desk.plan(fields), owner, key), owner)

    def job(self, job_id: str, owner: str) -> dict[str, Any]:
        """Return a job as it stands.

        Raises:
            NotFound: the owner has no such job.
        """
        return self._described(self._need(job_id, owner))

    def jobs(self, owner: str, state: str = "", limit: int = 50) -> dict[str, Any]:
        """Return the newest jobs of an owner, last first; `state` may be "unfinished" or one of the states."""
        known = ("", "unfinished", *get_args(State))
        if state not in known:
            raise InvalidRequest("state", state, ", ".join(known[1:]))
        _check_limit(limit)
        wanted = [one for one in get_args(State) if one not in ENDED] if state == "unfinished" else [state] if state else []
        found = self._ledger.jobs(owner=owner, states=wanted, limit=limit)
        return {"jobs": [self._described(job) for job in found], "paused": self._ledger.is_paused()}

    def act(self, job_id: str, action: Action, owner: str) -> dict[str, Any]:
        """Cancel, pause, resume, retry a job or move it up, and return it as it then stands.

        Raises:
            NotFound: the owner has no such job.
            NotNow: this cannot be done to it as it stands.
        """
        self._need(job_id, owner)
        if action not in ACTIONS:
            raise InvalidRequest("action", action, ", ".join(ACTIONS))
        try:
            getattr(self._ledger, "move_up" if action == "up" else action)(job_id, owner=owner)
        except InvalidRequest as error:
            raise NotNow(error.field, job_id, error.allowed) from None
        self._queued.standings(anew=True)
        return self.job(job_id, owner)

    def result(self, job_id: str, number: int, owner: str) -> Path:
        """Return the file of a result, counted from 1.

        Raises:
            NotFound: the owner has no such job, or it has no such result.
        """
        results = self._need(job_id, owner).results
        if not 1 <= number <= len(results):
            raise NotFound("result", number, f"1 to {len(results)}" if results else "none yet: the job has no result")
        return Path(results[number - 1])

    def preview(self, job_id: str, owner: str) -> Path:
        """Return where the preview of a job is; there is not always one."""
        return self._queued.preview(self._need(job_id, owner).id)

    def search(
        self,
        owner: str,
        words: str = "",
        kind: str | None = None,
        model: str | None = None,
        since: float | None = None,
        until: float | None = None,
        min_score: float | None = None,
        starred: bool | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> dict[str, Any]:
        """Return the newest results of an owner, last first."""
        _check_limit(limit)
        if kind not in (None, "image", "video"):
            raise InvalidRequest("kind", kind, "image, video")
        if not 0 <= offset < 10**9:
            raise InvalidRequest("offset", offset, "a whole number from 0")
        found = self._open().search(
            words[:400], kind=kind, model=model, since=since, until=until, min_score=min_score, starred=starred, owner=owner,
            limit=limit, offset=offset,
        )  # fmt: skip
        return {"results": [self._item(item) for item in found]}

    def details(self, file: str, owner: str) -> dict[str, Any]:
        """Return what is known of a result: its request, recipe, run facts and, of a film, its report."""
        item = self.item(file, owner)
        sidecar = files.read_json(sidecar_of(item.path))
        return {**self._item(item), **{name: sidecar.get(name) for name in ("request", "recipe", "run", "sha256")}}

    def item(self, file: str, owner: str) -> Item:
        """Return a result by its path below the output folder.

        Raises:
            NotFound: the owner has no such result.
        """
        library = self._open()
        try:
            item = library.item(library.outputs / file)
        except (InvalidRequest, ValueError):  # a path with a NUL is no path
            item = None
        if item is None or item.owner != owner:
            raise NotFound("file", file, "a result of yours, as a search names it")
        return item

    def star(self, file: str, starred: bool, owner: str) -> dict[str, Any]:
        """Mark a result, or take its mark away."""
        item = self.item(file, owner)
        self._open().star(item.path, starred)
        return self._item(replace(item, starred=starred))

    def enlarge(self, file: str, scale: int, owner: str) -> dict[str, Any]:
        """Make a copy of a picture `scale` times as large, by interpolation, and return it as a result of its own.

        Raises:
            InvalidRequest: the result is a film, or the scale is another one or too large for it.
        """
        item = self.item(file, owner)
        if item.kind != "image":
            raise InvalidRequest("file", file, "a picture")
        if scale not in SCALES:
            raise InvalidRequest("scale", scale, " or ".join(map(str, SCALES)))
        made, library = self.desk.enlarge(item.path, scale), self._open()
        library.add(made)
        return self._item(library.item(made))

    def export(self, file: str, format: str, wish: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """Make a film as another kind of file and return the address to fetch it from for a day; see `ExportRoutes.export`."""
        item = self.item(file, owner)
        if item.kind != "video":
            raise InvalidRequest("file", file, "a film")
        try:
            return self._exports.export(item.path, format, dict(wish), b"", owner)
        except UnreadableFile as error:  # its value is a path of this machine
            raise UnreadableFile(error.field, item.path.name, error.allowed) from None

    def delete(self, file: str, owner: str) -> dict[str, Any]:
        """Throw a result away; it can be restored for some days."""
        return {"thrown": self._open().delete(self.item(file, owner).path), "file": file}

    def restore(self, thrown: str, owner: str) -> dict[str, Any]:
        """Put a result of this owner back from the trash.

        Raises:
            NotFound: nothing of the owner's is in the trash under this id.
            InvalidRequest: its place is taken.
        """
        library = self._open()
        if library.thrown(thrown, owner) is None:
            raise NotFound("thrown", thrown, "the id that throwing it away gave")
        return self._item(library.item(library.restore(thrown)))

    def _need(self, job_id: str, owner: str) -> Job:
        try:
            return self._ledger.job(job_id, owner=owner)
        except InvalidRequest:
            raise NotFound("job", job_id, "the id of a job of yours") from None

    def _described(self, job: Job) -> dict[str, Any]:
        here = f"api/v1/jobs/{job.id}"
        has_ended = job.state in ENDED
        progress = job.progress if has_ended else self._queued.progress(job)
        told = {name: value for name, value in asdict(progress).items() if name != "preview"}
        return {
            "id": job.id, "kind": job.kind, "prompt": job.title, "models": list(job.models), "state": job.state,
            "wish": job.wish, "reason": job.reason, "next": next_step(job), "attempt": job.attempt,
            "submitted": job.submitted, "started": job.started, "ended": job.ended,
            "progress": None if has_ended else told,
            "results": [
                {"url": f"{here}/results/{n}", "name": Path(path).name, "kind": "video" if path.endswith(".mp4") else "image"}
                for n, path in enumerate(job.results, 1)
            ],
            "url": here, "events": f"{here}/events", "preview": f"{here}/preview", "page": f"job/{job.id}",
        }  # fmt: skip

    def _item(self, item: Item) -> dict[str, Any]:
        file = item.path.relative_to(self._open().outputs).as_posix()
        return {
            "file": file, "kind": item.kind, "prompt": item.prompt, "model": item.model, "made": item.made, "score": item.score,
            "starred": item.starred, "job": item.job, "problem": item.problem,
        }  # fmt: skip

    def _open(self) -> Library:
        with self._lock:
            if self._library is None:
                self._library = Library(self.desk.session.output_dir, self.desk.session.home)
            return self._library


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= LIST_MAX:
        raise InvalidRequest("limit", limit, f"a whole number from 1 to {LIST_MAX}")
