"""Start the web app: on this machine, in Colab or as a Space. Reads the environment; the only file that knows `spaces`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

try:
    import spaces  # must come before anything that could touch a GPU
except ImportError:
    spaces = None

from flux_svd.errors import FluxSvdError
from flux_svd.session import Session
from flux_svd.web.accounts import read_accounts
from flux_svd.web.binding import check_port

GPU_SECONDS = 120  # of a Space's GPU for one picture or film


def main() -> None:
    home = os.environ.get("FLUX_SVD_HOME")
    output = os.environ.get("FLUX_SVD_OUTPUT")
    folders = {"home": Path(home) if home else None, "output_dir": Path(output) if output else None}
    port = int(os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or 7860)
    password_file = os.environ.get("FLUX_SVD_PASSWORD_FILE")
    # Taken out of the environment: processes started from here have no need of it.
    accounts = read_accounts(os.environ.pop("FLUX_SVD_PASSWORD", None), Path(password_file) if password_file else None)
    here = not (os.environ.get("SPACE_ID") or os.environ.get("COLAB_RELEASE_TAG") or "google.colab" in sys.modules)
    if here:
        check_port("127.0.0.1", port)
    from flux_svd.web import serve  # Gradio takes long to import

    if here:
        metrics_token = os.environ.pop("FLUX_SVD_METRICS_TOKEN", "")

        def tell() -> None:
            sys.stdout.write(f"flux_svd is at http://127.0.0.1:{port} (Ctrl+C ends it)\n")
            sys.stdout.flush()

        serve.run_app("127.0.0.1", port, **folders, accounts=accounts, metrics_token=metrics_token, on_listening=tell)
    elif os.environ.get("SPACE_ID"):
        lend = spaces.GPU(duration=GPU_SECONDS) if spaces is not None and os.environ.get("SPACES_ZERO_GPU") else None
        serve.launch(Session(**folders, owner="the app"), profile="space", port=port, on_device=lend, accounts=accounts)
    else:
        serve.launch(Session(**folders, owner="the app"), profile="colab", port=port, accounts=accounts)


if __name__ == "__main__":
    try:
        main()
    except FluxSvdError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
