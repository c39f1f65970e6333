"""What a finished film's report says: for the strip a word at each join and transition; verdicts, with the figures folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flux_svd.metrics.film import BLEND_LIMIT, SMOOTH, STEP_LIMIT, report_from_json
from flux_svd.web.parts import esc


def joins_of(report: Mapping[str, Any], positions: Sequence[int]) -> list[tuple[str, str]]:
    """Return for each keyframe, first to last, how the film joins there in words and in figures; "" where it is not told."""
    told = report_from_json(report)
    if told is None:
        return [("", "")] * len(positions)
    found = {join.frame: (told.judge(join), f"Join {join.join_ratio:.2f}, hold {join.hold:.2f}") for join in told.joins}
    return [(_joined(*found[at]) if at in found else ("", "")) for at in positions]


def verdicts_of(report: Mapping[str, Any]) -> list[str]:
    """Return for each transition what stands out in it: a jump, a cross-fade, or that there is neither."""
    return [_verdict(row) for row in report.get("ways", ())]


def report_list(report: Mapping[str, Any], fps: int) -> str:
    """Return the report folded, or "" where there is none: what was found in plain words, then the figures, folded again."""
    told = report_from_json(report)
    if told is None:
        return ""
    rows = "".join(_row(sentence) for sentence in told.words())
    found = "".join(f"<li>{esc(finding)}</li>" for finding in told.findings(fps))
    return (
        f'<details class="told"><summary>Film report</summary><ul class="finds">{found}</ul>'
        f'<details class="figures"><summary>Figures</summary><ul class="facts">{rows}</ul></details></details>'
    )


def split(sentence: str) -> tuple[str, str]:
    """Return what a sentence of the report is about, and what it says."""
    about, _, says = sentence.partition(": ")
    return about, says


def _joined(words: str, figures: str) -> tuple[str, str]:
    return ("smooth" if words == SMOOTH else words), figures


def _row(sentence: str) -> str:
    about, says = split(sentence)
    return f"<li><span>{esc(about)}</span><div>{esc(says)}</div></li>"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["largest_step"] > STEP_LIMIT:
        return f"a jump at frame {row['largest_step_frame']}"
    if row["blend_share"] is not None and row["blend_share"] > BLEND_LIMIT:
        return "looks like a cross-fade"
    return "no jump"
