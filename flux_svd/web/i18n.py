"""The page in five languages: one table from English to the others, for Gradio's own parts, for our markup and for the server.

English is the key, so nothing is said twice. `{name}` in a text stands for whatever is filled in, `{n}` and `{m}` for figures.
What plans decide and what fields accept is said by the rooms below, for the command line too; `plan_texts` has it. Words of users
and names of models stay as they are, and so do the messages of work that failed.
"""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

from flux_svd.web.texts import TEXTS

LANGUAGES = ("en", "es", "fr", "de", "zh-CN")
"""In the order of the columns of the table; the names are those of Gradio's own translations."""

_WORDS = ("label", "info", "placeholder", "value")  # what of a component Gradio's page translates


def translate(english: str, language: str, **values: object) -> str:
    """Return a text in a language, its placeholders filled in.

    Raises:
        KeyError: the table has no such text.
    """
    texts = (english, *TEXTS[english])
    return texts[LANGUAGES.index(language)].format(**values)


def language_of(accepted: str) -> str:
    """Return which of our languages an Accept-Language header prefers; English where it names none of them."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted.split(",")[:20]):
        tag, _, quality = part.partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        wanted.append((-weight, place, tag.strip().lower()))
    for weight, _, tag in sorted(wanted):
        found = next((one for one in LANGUAGES if tag.split("-")[0] == one.split("-")[0]), None)
        if found is not None and weight < 0:
            return found
    return "en"


def gradio_texts() -> gr.I18n:
    """Return the table as Gradio takes it; the page's script reads it from there for our own markup."""
    rows = [(english, *others) for english, others in TEXTS.items()]
    return gr.I18n(**{language: {row[0]: row[n] for row in rows} for n, language in enumerate(LANGUAGES)})


def mark_texts(page: gr.Blocks) -> list[str]:
    """Let Gradio translate every text of the page's components, and return those the table does not have."""
    mark, missing = gr.I18n(), []
    for block in page.blocks.values():
        for name in () if isinstance(block, gr.HTML) else _WORDS:
            said: Any = getattr(block, name, None)
            if (name == "value" and not isinstance(block, gr.Button)) or not isinstance(said, str) or not said.strip():
                continue
            if said in TEXTS:
                setattr(block, name, mark(said))
            elif not is_known(said):
                missing.append(said)
    return missing


def is_known(said: str) -> bool:
    """Return whether the table has this text, its placeholders filled in; the page's script turns such texts."""
    return said in TEXTS or any(shape.fullmatch(said) for shape in _SHAPES)


_SHAPES = [re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)), re.DOTALL) for text in TEXTS if "{" in text]
