"""What a browser needs to install the page as an app: its manifest and icons. No service worker: results are never cached."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from flux_svd.web.look import DARK, STATIC

ICON_SIZES = (192, 512)


def install_routes() -> list[BaseRoute]:
    return [Route("/manifest.json", _manifest), *(Route(f"/icon-{size}.png", _icon) for size in ICON_SIZES)]


async def _manifest(request: Request) -> Response:
    icons = [
        {"src": f"icon-{size}.png", "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}
        for size in ICON_SIZES
        for purpose in ("any", "maskable")
    ]
    told = {
        "name": "flux_svd", "short_name": "flux_svd", "id": "./", "start_url": "./", "scope": "./", "display": "standalone",
        "background_color": DARK["page"], "theme_color": DARK["page"], "icons": icons,
    }  # fmt: skip
    return JSONResponse(told, media_type="application/manifest+json", headers={"Cache-Control": "max-age=86400"})


async def _icon(request: Request) -> Response:
    name = request.url.path.rsplit("/", 1)[1]
    return FileResponse(STATIC / name, media_type="image/png", headers={"Cache-Control": "max-age=86400"})
