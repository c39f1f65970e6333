"""The web room: the page, its own file route and the guard before both. Only this room knows gradio; it loads no engine."""
