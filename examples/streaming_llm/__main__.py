"""`python -m examples.streaming_llm`: the documentation assistant as a web page, on this machine alone."""

from __future__ import annotations

import argparse

from examples.streaming_llm.web import build_apps
from penguiflow_asgi.serving import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.streaming_llm", description=__doc__.partition(": ")[2])
    parser.add_argument("--port", type=int, default=8000, help="where it listens (default: 8000)")
    parser.add_argument(
        "--pace", type=float, default=0.03, help="seconds between the words of a quotation (default: 0.03)"
    )
    options = parser.parse_args()
    print(f"Ask at http://127.0.0.1:{options.port} (Ctrl-C stops it)", flush=True)
    page, flow = build_apps(options.pace)
    serve(page, flow, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
