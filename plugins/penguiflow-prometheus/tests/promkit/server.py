"""Debian's `prometheus` as a real server, started and stopped by the tests."""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

PATIENCE_S = 30.0


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, and fails in CI."""
    found = shutil.which(name)
    if found is None:
        text = f"{name} is not installed: apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """A Prometheus that runs, and what it may be asked."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def get(self, path: str, **params: Any) -> Any:
        """The `data` of an answer of its API."""
        response = self._client.get(f"/api/v1/{path}", params=params)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """What an expression gives now: labels and value of each series."""
        result = self.get("query", query=promql)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def number(self, promql: str) -> float:
        """What an expression gives that has one answer."""
        ((_, value),) = self.query(promql)
        return value

    def by(self, promql: str, *labels: str) -> dict[tuple[str, ...], float]:
        """What an expression gives, by some labels; 0 is left out."""
        return {tuple(found.get(label, "") for label in labels): value for found, value in self.query(promql) if value}

    def wait(self, promql: str, value: float) -> None:
        """Wait until an expression gives this value."""
        until = time.monotonic() + PATIENCE_S
        while [found for _, found in self.query(promql)] != [value]:
            assert time.monotonic() < until, f"{promql} is {self.query(promql)}, not {value}"
            time.sleep(0.05)

    def answer(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """What an expression gives, once it gives numbers: a rate is none before the second scrape of a series."""
        until = time.monotonic() + PATIENCE_S
        while not (found := self.query(promql)) or any(math.isnan(value) for _, value in found):
            assert time.monotonic() < until, f"{promql} gives {found}"
            time.sleep(0.1)
        return found

    def scraped_again(self) -> None:
        """Wait until a scrape that begins after now has been taken in."""
        began = time.time()
        until = time.monotonic() + PATIENCE_S
        while not self._scraped_since(began):
            assert time.monotonic() < until, self.get("targets")["activeTargets"]
            time.sleep(0.05)

    def _scraped_since(self, began: float) -> bool:
        times = self.query("timestamp(up)")  # of the samples; that of any other expression is now
        return bool(times) and all(when > began for _, when in times) and min(up for _, up in self.query("up")) == 1

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """End the connections to it."""
        self._client.close()


@contextmanager
def prometheus(folder: Path, *targets: int) -> Iterator[Server]:
    """A Prometheus that scrapes these ports of this machine five times a second, and keeps exemplars."""
    listed = ", ".join(f'"127.0.0.1:{port}"' for port in targets)
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        "scrape_configs:\n"
        f"  - {{job_name: flows, static_configs: [{{targets: [{listed}]}}]}}\n"
    )
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    said = folder / "prometheus.log"
    with said.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        server = Server(f"http://127.0.0.1:{port}")
        try:
            until = time.monotonic() + PATIENCE_S
            while not server.ready():
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < until, said.read_text()
                time.sleep(0.05)
            yield server
        finally:
            server.close()
            process.terminate()
