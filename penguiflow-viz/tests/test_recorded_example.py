"""The examples that run: one is drawn with what happened, one is followed live."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from vizkit.programs import SVG
from vizkit.watching import client, until

from penguiflow_viz import serve

EXAMPLE = Path(__file__).parents[2] / "examples" / "visualizer"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def test_the_recorded_example_draws_what_happened(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE / "recorded.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"$ python examples/visualizer/recorded.py drawn\n{done.stdout}```" in README
    tree = ElementTree.parse(tmp_path / "question-1_waterfall.svg")
    rows = [g for g in tree.iter(f"{SVG}g") if "pw-run" in g.get("class", "")]
    assert [row.findtext(f"{SVG}text") for row in rows] == ["find", "search", "remember", "both", "write"]
    assert [rows[1].findall(f"{SVG}*[@class='pw-error']") != [], "retry" in "".join(rows[1].itertext())] == [True, True]
    assert "3 runs" in (tmp_path / "desk_ran.mmd").read_text(encoding="utf-8")


async def test_the_live_example_can_be_followed():
    assert "examples/visualizer/live.py:bakery --input 3" in README
    names: dict[str, object] = {"__name__": "live"}
    exec(compile((EXAMPLE / "live.py").read_text(encoding="utf-8"), "live.py", "exec"), names)
    flow = names["bakery"]()  # type: ignore[operator]
    async with flow, serve(flow, port=0) as view, client(view) as asking:
        handle = flow.start(1)
        seen = await until(asking, lambda s: any(node.get("chunks") for node in s["nodes"].values()))
        assert seen["totals"]["in flight"] == 1
        await handle.cancel()
