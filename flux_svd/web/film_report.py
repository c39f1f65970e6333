"""What a finished film's report says: for the strip a word at each join and transition, and as a list of numbers with words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flux_svd.metrics.film import BLEND_LIMIT, STEP_LIMIT
from flux_svd.web.parts import esc


def joins_of(report: Mapping[str, Any], positions: Sequence[int]) -> list[str]:
    """Return for each keyframe, first to last, how the film joins there in words; "" at both ends and where it is not told."""
    told = {row["frame"]: row for row in report.get("joins", ())}
    return [f"Join {told[at]['join_ratio']:.2f}, hold {told[at]['hold']:.2f}" if at in told else "" for at in positions]


def verdicts_of(report: Mapping[str, Any]) -> list[str]:
    """Return for each transition what stands out in it: a jump, a cross-fade, or that there is neither."""
    return [_verdict(row) for row in report.get("ways", ())]


def report_list(report: Mapping[str, Any]) -> str:
    """Return the report as a folded list, or "" where there is none: each number with what it says."""
    rows = "".join(_row(sentence) for sentence in report.get("words", ()))
    if not rows:
        return ""
    return f'<details class="told"><summary>Film report</summary><ul class="facts">{rows}</ul></details>'


def split(sentence: str) -> tuple[str, str]:
    """Return what a sentence of the report is about, and what it says."""
    about, _, says = sentence.partition(": ")
    return about, says


def _row(sentence: str) -> str:
    about, says = split(sentence)
    return f"<li><span>{esc(about)}</span><div>{esc(says)}</div></li>"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["largest_step"] > STEP_LIMIT:
        return f"a jump at frame {row['largest_step_frame']}"
    if row["blend_share"] is not None and row["blend_share"] > BLEND_LIMIT:
        return "looks like a cross-fade"
    return "no jump"
