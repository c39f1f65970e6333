"""How the page looks: colour tokens, the Gradio theme made of them, icons, and the page's head. Nothing is fetched from outside.

A light table: the page is true grey (r = g = b), colour belongs to the pictures, and amber means "start" or "work goes on here".
The rules of the style sheet stand in `static/look.css`, the keyboard in `static/page.js`.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from flux_svd import presets
from flux_svd.catalog import MODELS

STATIC = Path(__file__).parent / "static"

# Contrast on page, raised and well: text >= 12.6, quiet >= 5.5, edge >= 3, accent ink >= 5.0, bad >= 4.6.
LIGHT = {
    "page": "#f5f5f5", "raised": "#ffffff", "well": "#d8d8d8", "line": "#cfcfcf", "edge": "#757575", "text": "#161616",
    "quiet": "#525252", "accent": "#f2a93b", "accent-hover": "#e59a28", "on-accent": "#161616", "accent-ink": "#804c00",
    "bad": "#b3261e",
}  # fmt: skip
DARK = {
    "page": "#161616", "raised": "#212121", "well": "#2b2b2b", "line": "#3a3a3a", "edge": "#7c7c7c", "text": "#f2f2f2",
    "quiet": "#b4b4b4", "accent": "#f2a93b", "accent-hover": "#ffbd58", "on-accent": "#161616", "accent-ink": "#f2a93b",
    "bad": "#ff8a80",
}  # fmt: skip
SMALL, BODY, LARGE = "13px", "16px", "24px"
FONTS = ["Segoe UI Variable Text", "Segoe UI", "-apple-system", "BlinkMacSystemFont", "Roboto", "Helvetica Neue", "Noto Sans",
         "Liberation Sans", "Arial", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"]  # fmt: skip
MONO = ["ui-monospace", "SFMono-Regular", "Consolas", "Liberation Mono", "monospace"]

# Gradio's names for what a token colours.
_COLOURS = {
    "page": ("body_background_fill", "background_fill_primary"),
    "raised": (
        "background_fill_secondary", "color_accent_soft", "code_background_fill", "input_background_fill",
        "input_background_fill_focus", "input_background_fill_hover", "checkbox_background_color",
        "button_secondary_background_fill_hover", "error_background_fill",
    ),
    "line": ("border_color_primary",),
    "edge": ("input_border_color", "checkbox_border_color", "button_cancel_border_color"),
    "text": (
        "body_text_color", "link_text_color", "link_text_color_visited", "accordion_text_color", "table_text_color",
        "input_border_color_focus", "input_border_color_hover", "slider_color", "checkbox_background_color_selected",
        "checkbox_border_color_selected", "checkbox_border_color_hover", "checkbox_border_color_focus",
        "checkbox_label_text_color", "checkbox_label_text_color_selected", "button_secondary_text_color",
        "button_secondary_text_color_hover", "button_cancel_text_color", "button_cancel_text_color_hover",
        "button_cancel_border_color_hover",
    ),
    "quiet": (
        "body_text_color_subdued", "block_info_text_color", "block_label_text_color", "block_title_text_color",
        "input_placeholder_color",
    ),
    "accent": ("button_primary_background_fill",),
    "accent-hover": ("button_primary_background_fill_hover",),
    "on-accent": ("button_primary_text_color", "button_primary_text_color_hover"),
    "accent-ink": ("border_color_accent", "link_text_color_hover", "link_text_color_active", "loader_color"),
    "bad": ("error_text_color", "error_border_color", "error_icon_color"),
}  # fmt: skip
_CLEAR = (
    "block_background_fill", "block_label_background_fill", "block_title_background_fill", "panel_background_fill",
    "checkbox_label_background_fill", "checkbox_label_background_fill_hover", "checkbox_label_background_fill_selected",
    "button_secondary_background_fill", "button_cancel_background_fill", "button_cancel_background_fill_hover",
    "stat_background_fill", "button_primary_border_color", "button_secondary_border_color", "button_secondary_border_color_hover",
)  # fmt: skip
_NO_WIDTH = ("block_border_width", "block_label_border_width", "block_title_border_width", "panel_border_width",
             "checkbox_label_border_width")  # fmt: skip
_NO_SHADOW = (
    "block_shadow", "input_shadow", "input_shadow_focus", "checkbox_shadow", "checkbox_label_shadow", "button_primary_shadow",
    "button_primary_shadow_hover", "button_primary_shadow_active", "button_secondary_shadow", "button_secondary_shadow_hover",
    "button_secondary_shadow_active",
)  # fmt: skip
_MEASURES = {
    "block_padding": "0px", "block_label_padding": "0px", "block_title_padding": "0px", "block_label_margin": "0px",
    "block_title_text_size": SMALL, "block_title_text_weight": "400", "block_label_text_size": SMALL,
    "block_label_text_weight": "400", "block_info_text_size": SMALL, "input_border_width": "1px", "input_padding": "8px 12px",
    "input_text_size": BODY, "button_large_text_weight": "600", "button_medium_text_weight": "400",
    "button_small_text_weight": "400", "button_large_text_size": BODY, "button_medium_text_size": BODY,
    "button_small_text_size": BODY, "button_large_padding": "8px 24px", "button_medium_padding": "8px 12px",
    "button_small_padding": "8px 12px", "button_transition": "background-color 80ms linear", "button_border_width": "1px",
    "layout_gap": "16px", "form_gap_width": "0px", "checkbox_label_gap": "8px", "checkbox_label_padding": "8px 0px",
    "checkbox_border_radius": "2px", "section_header_text_size": BODY, "section_header_text_weight": "600",
}  # fmt: skip

_GREY = gr.themes.colors.Color(
    name="true_grey", c50="#fafafa", c100="#f5f5f5", c200="#e4e4e4", c300="#cfcfcf", c400="#a0a0a0", c500="#767676",
    c600="#525252", c700="#3a3a3a", c800="#2b2b2b", c900="#212121", c950="#161616",
)  # fmt: skip
_AMBER = gr.themes.colors.Color(
    name="safelight", c50="#fff7ea", c100="#fdebcb", c200="#fbd99b", c300="#f8c76c", c400="#f5b752", c500="#f2a93b",
    c600="#d98d1c", c700="#a86a0c", c800="#804c00", c900="#5c3700", c950="#3b2300",
)  # fmt: skip


class LightTable(gr.themes.Base):  # type: ignore[misc]
    """Blocks are bare (no box, border or shadow); fields are the only boxes; labels are quiet text."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=_AMBER, secondary_hue=_GREY, neutral_hue=_GREY, font=FONTS, font_mono=MONO,
            text_size=_scale("three", SMALL, SMALL, SMALL, BODY, BODY, LARGE, LARGE),
            spacing_size=_scale("eight", "4px", "4px", "8px", "8px", "16px", "16px", "16px"),
            radius_size=_scale("four", "2px", "2px", "4px", "4px", "4px", "4px", "4px"),
        )  # fmt: skip
        self.name = "light_table"
        wanted = {name: (LIGHT[token], DARK[token]) for token, names in _COLOURS.items() for name in names}
        wanted["checkbox_background_color_selected"] = (LIGHT["text"], DARK["edge"])  # its check mark is a white picture
        for names, value in ((_CLEAR, "transparent"), (_NO_WIDTH, "0px"), (_NO_SHADOW, "none")):
            wanted.update(dict.fromkeys(names, (value, value)))
        wanted.update({name: (value, value) for name, value in _MEASURES.items()})
        both = {name: light for name, (light, _) in wanted.items()}
        both.update({f"{name}_dark": dark for name, (_, dark) in wanted.items()})
        known = signature(gr.themes.Base.set).parameters  # some names have no dark twin
        self.set(**{name: value for name, value in both.items() if name in known})


def style_sheet() -> str:
    """Return the whole style sheet: tokens and icons as variables, then the rules."""
    icons = ";".join(f"--i-{name}:{_mask(body)}" for name, body in _ICONS.items())
    classes = "".join(f".i-{name}{{--i:var(--i-{name})}}" for name in _ICONS)
    sizes = f"--small:{SMALL};--body:{BODY};--large:{LARGE}"
    scheme = ":root{color-scheme:light}:root:has(.dark),.dark{color-scheme:dark}"  # native parts of fields
    tokens = f":root{{{_variables(LIGHT)};{icons};{sizes}}}.dark{{{_variables(DARK)}}}{scheme}"
    return tokens + classes + _glyphs() + (STATIC / "look.css").read_text("utf-8")


def login_style() -> str:
    """Return the style of the page that asks for a password: the same tokens, and nothing of Gradio."""
    tokens = f":root{{{_variables(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
    return f"{tokens}*{{font-family:{','.join(FONTS)}}}" + (STATIC / "login.css").read_text("utf-8")


def page_head() -> str:
    """Return what goes into the page's <head>."""
    names = ("words", "parts", "library", "models", "queue", "create", "film", "page")
    scripts = "".join((STATIC / f"{name}.js").read_text("utf-8") for name in names)
    return (
        '<meta name="viewport" content="width=device-width,initial-scale=1,viewport-fit=cover">'
        '<link rel="manifest" href="manifest.json" crossorigin="use-credentials">'
        '<link rel="apple-touch-icon" href="icon-192.png">'
        f"<style>{style_sheet()}</style><script>{scripts}</script>"
    )


def _scale(name: str, *steps: str) -> gr.themes.sizes.Size:
    return gr.themes.sizes.Size(name, *steps)


def _glyphs() -> str:
    """Return the rules that give each choice of a shape its little frame."""
    sizes = [(shape.width, shape.height) for shape in presets.SHAPES.values()]
    sizes += [size for spec in MODELS.values() if spec.pocket for size in (spec.size, spec.film_size)]
    names = dict.fromkeys(presets.proportion(*size) for size in sizes)
    return "".join(f'.shape label:has([value="{name}"]){{--glyph:{name.replace(":", "/")}}}' for name in names)


def _variables(tokens: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in tokens.items())


# Drawn as masks, so that they take the colour of the text.
_ICONS = {
    "left": "<path d='M11.500 5 6.500 10l5 5'/>",
    "right": "<path d='m8.500 5 5 5-5 5'/>",
    "bin": "<path d='M4.500 6h11M8 6V4.500h4V6M6 6l.7 9.500h6.600L14 6'/>",
    "play": "<path d='M7 5v10l8-5z' fill='#000'/>",
    "pause": "<path d='M7.500 5v10M12.500 5v10' stroke-width='2.500'/>",
    "full": "<path d='M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4'/>",
    "chev": "<path d='m5 8 5 5 5-5'/>",
    "up": "<path d='M10 13V4.500M6.500 7.500 10 4l3.500 3.500M4.500 12v3.500h11V12'/>",
    "plus": "<path d='M10 4.500v11M4.500 10h11'/>",
    "open": "<path d='M5.500 9h9v7h-9zM7.500 9V6.500a2.500 2.500 0 0 1 4.800-1'/>",
    "locked": "<path d='M5.500 9h9v7h-9z' fill='#000'/><path d='M7.500 9V6.500a2.500 2.500 0 0 1 5 0V9'/>",
    "redo": "<path d='M15.500 8A6 6 0 1 0 16 10.800M15.800 4.200V8H12'/>",
    "star": (
        "<path fill='#000' d='m10 3.500 2 4.200 4.600.6-3.400 3.200.9 4.600L10 13.800 5.900 16.100l.9-4.600L3.400 8.300 8 "
        "7.700z'/>"
    ),
}


def _mask(body: str) -> str:
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20' fill='none' stroke='#000' stroke-width='1.500' "
        f"stroke-linecap='round' stroke-linejoin='round'>{body}</svg>"
    )
    return f'url("data:image/svg+xml,{quote(svg)}")'
