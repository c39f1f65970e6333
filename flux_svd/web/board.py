"""What a tab remembers of its film: its cards, and what was made for them."""

from __future__ import annotations

from dataclasses import dataclass, field

from flux_svd.web.filmstrip import Way


@dataclass(frozen=True)
class Drawn:
    """A keyframe that was drawn: where its picture is, and its score in words."""

    address: str
    score: str


@dataclass(frozen=True)
class Slot:
    """What a card is called, and the stored picture given for it ("" where one is drawn)."""

    name: str
    picture: str = ""


@dataclass(frozen=True)
class Board:
    """The cards, what was made (by fingerprint), and the last film's player and actions as markup."""

    slots: tuple[Slot, ...]
    drawn: dict[str, Drawn] = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)
    player: str = ""
    acts: str = ""
