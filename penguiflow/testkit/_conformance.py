"""`PluginConformance`: what every plugin has to stand, as tests that a plugin author inherits.

Rules: each check looks at one promise, and is silent on what another one looks at. A failure says what was seen and
what to do about it. The checks are plain functions: they bring their own event loop.
"""

from __future__ import annotations

import asyncio
import threading

from penguiflow import EVENT_TYPES, HOOKS, FlowError, FlowErrorCode, create
from penguiflow.testkit import _flows as flows
from penguiflow.testkit._deployment import deployment
from penguiflow.testkit._imports import LOOPS, imported
from penguiflow.testkit._leftovers import WatchedLoop, left_in_loop, threads_left
from penguiflow.testkit._speed import measured, slowness
from penguiflow.testkit._witness import Witness
from penguiflow.testkit._workbench import Workbench, fail, refuse

ROUNDS = 5
FORMATS = ("mermaid", "dot", "json", "svg", "png")
UNKNOWN_FORMAT = "a-format-that-nobody-has"


class PluginConformance(Workbench):
    """The checks that a plugin passes before it is published. Inherit it in a test module, and let pytest run it.

    `class TestAcme(PluginConformance): entry_point = "acme"` checks an installed plugin as a deployment gets it;
    overriding `make` checks whatever that returns.

    Attributes:
        entry_point: The plugin's name among the entry points, of either group.
        options: What the plugin is given, as in a deployment's file.
        module: The module whose import is timed; by default where the plugin is defined.
        on_event_us: How many microseconds `on_event` may take, in the middle of all events.
        on_event_longest_us: How many microseconds the longest may take.
        import_ms: How many milliseconds importing the plugin may take, once PenguiFlow is imported.
        stop_s: How many seconds its `stop` may take.
        patience_s: After how many seconds a check gives up waiting for a flow to end.
        most_retries: How often `on_error` may answer `Retry` to one and the same failure.
        successors: The nodes that a routing policy is asked to choose from.
        payloads: The messages that it is asked about.
    """

    def test_it_can_be_built_into_a_flow_and_started(self) -> None:
        """Its hooks have the right names and arguments, and `start` works. By name, if it has an entry point."""
        plugin = self._made()
        try:
            with deployment(self.stop_s):
                create(flows.plain, plugins=[plugin])
        except TypeError as exc:
            fail(f"a flow can't use this plugin. {exc}", exc)
        witness = Witness(plugin, self._hooks(plugin))
        self._run(lambda: self._one_answer(witness))
        refuse(witness.of("start"), "raise in start(flow) only what a deployment must see: the plugin is then left out")
        if self.entry_point is not None:
            self._load_by_name(self.entry_point)

    def test_it_survives_every_type_of_event(self) -> None:
        """`on_event` raises on none of `EVENT_TYPES`."""
        witness = self._witness("on_event")
        watch = flows.Watch()
        self._run(lambda: self._weather([flows.BreaksOnce(), witness], watch))
        missing = [kind for kind in EVENT_TYPES if not watch.seen[kind]]
        if missing:
            raise AssertionError(f"the testkit's own flow sent no {missing}")
        refuse(
            witness.of("on_event"),
            "take every field as it comes (most are None on some types), or declare the types that you handle: "
            'event_types = ("node_start", ...)',
        )

    def test_on_event_is_quick(self) -> None:
        """`on_event` runs in the node's own task: what it takes, every node takes longer."""
        rounds = []
        for _ in range(ROUNDS):
            factor, witness = slowness(), self._witness("on_event")
            self._run(lambda witness=witness: self._weather([witness], flows.Watch()))  # type: ignore[misc]
            if not witness.took_us:
                return
            rounds.append(measured(witness.took_us, factor))
        middle = min(found.median_us for found in rounds)
        longest = min(rounds, key=lambda found: found.longest_us)
        if middle > self.on_event_us:
            fail(
                f"on_event takes {middle:.0f} microseconds per event, and {self.on_event_us:g} are allowed. Keep only "
                "what you need of the event, and do the work in a task or thread that start(flow) starts; or listen to "
                "fewer types (event_types); or, if it has to be, set on_event_us"
            )
        if longest.longest_us > self.on_event_longest_us:
            fail(
                f"on_event takes {longest.longest_us / 1e3:.1f} ms for a {longest.longest}, and "
                f"{self.on_event_longest_us / 1e3:g} are allowed: it blocks every flow of the process. Never wait in "
                "on_event for a lock, a file or the network: put what it needs in a queue"
            )

    def test_it_changes_no_result(self) -> None:
        """A flow gives the same outputs with it as without it. (What decides has checks of its own.)"""
        witness = self._witness("on_event")
        without = self._run(lambda: self._weather([], flows.Watch()))
        outputs = self._run(lambda: self._weather([witness], flows.Watch()))
        for bare, output in zip(without, outputs, strict=False):
            if bare != output:
                fail(
                    f"with the plugin a node returned {output!r:.200}, without it {bare!r:.200}. What an event shows "
                    "is the flow's own: copy what you want to change"
                )
        if len(without) != len(outputs):
            fail(f"with the plugin the flow gave {len(outputs)} outputs, without it {len(without)}")

    def test_routes_are_ones_that_the_router_has(self) -> None:
        """`resolve_route` answers `None`, `()`, or successors of the router, in time."""
        witness = self._witness("resolve_route")
        if "resolve_route" not in witness.hooks:
            return
        unroutable = None
        try:
            self._run(lambda: self._crossroads(witness, flows.routed))
        except FlowError as error:
            if error.code != FlowErrorCode.ROUTING:
                raise
            unroutable = error
        refuse(
            witness.of("resolve_route"),
            "a policy that raises fails the message with ROUTING: answer None to what it doesn't know, and set "
            "payloads to what it is meant for",
        )
        if unroutable is not None:
            fail(
                f"{unroutable.message}. Answer None (no opinion), () (drop it), or names out of "
                "request.proposed_names; if the plugin's options name other nodes, set successors to them",
                unroutable,
            )

    def test_what_follows_an_error_is_a_decision(self) -> None:
        """`on_error` answers `Retry`, `Replace`, `Emit`, `Drop` or `None`, and doesn't retry for ever."""
        witness = self._witness("on_error")
        if "on_error" not in witness.hooks:
            return
        outcomes = self._run(lambda: self._failures(witness))
        refuse(
            witness.of("on_error"),
            "answer with Retry(after_s), Replace(payload), Emit(), Drop() or None, and treat an error that you don't "
            "know with None",
        )
        if "too many" in outcomes:
            fail(
                f"on_error answered Retry to one failure more than {self.most_retries} times: the node would run for "
                "ever. Look at error.metadata['attempts'], and answer None when it is enough"
            )

    def test_a_storm_of_cancellations_is_survived(self) -> None:
        """Hundreds of traces are cancelled at once, in every state: nothing is raised, and all settle."""
        watched, deciding = self._sound("on_event", "on_error"), self._sound("on_event", "resolve_route", "on_error")
        self._run(lambda: self._storm(watched))
        if "resolve_route" in deciding.hooks:
            self._run(lambda: self._crossroads(deciding, flows.routing_storm))
        refuse(
            [*watched.of(*HOOKS), *deciding.of(*HOOKS)],
            "a node run may end as node_cancelled in any state, and several hundred at once; let "
            "asyncio.CancelledError through, and clean up in `finally`",
        )

    def test_two_flows_at_once_do_not_meet(self) -> None:
        """Two instances, in two flows that run at the same time in one loop."""
        complaints = []
        for hook in ("on_event", "resolve_route"):
            first, second = self._sound(hook), self._witness(hook)

            async def both(first: Witness = first, second: Witness = second) -> None:
                await asyncio.gather(self._scene(first), self._scene(second))

            self._run(both)
            complaints += first.of(hook, "start", "stop") + second.of(hook, "start", "stop")
        refuse(
            complaints,
            "a process has many flows: keep what belongs to one in the instance, and nothing in the module or class",
        )

    def test_a_second_event_loop_is_like_the_first(self) -> None:
        """Two instances, in two flows that stop, and then run again in another loop."""
        witnesses = [self._sound("on_event"), self._witness("on_event")]
        watches = [flows.Watch(), flows.Watch()]
        with deployment(self.stop_s):
            made_flows = [
                flows.weather([w], watch, f"flow {i}")
                for i, (w, watch) in enumerate(zip(witnesses, watches, strict=True))
            ]

        async def both() -> None:
            for flow, watch in zip(made_flows, watches, strict=True):
                async with flow:
                    await flows.everything(flow, watch)

        self._run(both)
        self._run(both)
        refuse(
            [c for witness in witnesses for c in witness.of("on_event", "start", "stop")],
            "a flow may run again in another loop, as in tests: make what belongs to a loop (tasks, locks, queues, "
            "sessions) in start(flow), and forget it in stop(flow)",
        )

    def test_stop_leaves_nothing_behind(self) -> None:
        """After `stop`, which ends in time, there is no task, thread, timer or open file of it in the loop."""
        before = threading.enumerate()
        witness = self._witness("on_event")
        with asyncio.Runner(loop_factory=WatchedLoop) as runner:
            left = runner.run(left_in_loop(lambda: self._weather([witness], flows.Watch())))
        left += threads_left(before)
        refuse(witness.of("stop"), f"end within {self.stop_s:g} seconds (stop_s), and raise nothing")
        if left:
            fail(
                f"after the flow has stopped, {'; '.join(left)} is left. End in stop(flow) what start(flow) or "
                "on_event has begun: cancel and await tasks, join threads, close sessions and files"
            )

    def test_importing_it_is_cheap(self) -> None:
        """Every process that has the plugin installed imports it: that takes no time, and starts nothing."""
        module = self._module()
        try:
            done = imported(module, 3)
        except ImportError as exc:
            fail(f"{exc}\n(set module to the module that the entry point names)")
        loops = done.loops + [name for name in LOOPS if name in done.modules]
        if done.threads or loops:
            started = [f"a thread ({name})" for name in done.threads] + [f"an event loop ({name})" for name in loops]
            fail(f"importing {module} starts {', '.join(started)}: do that in start(flow), and end it in stop(flow)")
        if done.ms > self.import_ms:
            brought = ", ".join(done.modules) or "nothing but Python's own modules"
            fail(
                f"importing {module} takes {done.ms:.0f} ms, and {self.import_ms:g} are allowed. It brings {brought}: "
                "import what is heavy inside the factory or start(flow), or set import_ms"
            )

    def test_a_burst_of_events_is_survived(self) -> None:
        """Thousands of events come before the loop turns again: nothing is raised."""
        witness = self._sound("on_event")

        async def poured() -> None:
            with deployment(self.stop_s):
                await flows.burst([witness])

        self._run(poured)
        refuse(
            witness.of("on_event"),
            "a queue between on_event and what sends the events has to have a bound, and at that bound drop events "
            "(and count them), not raise",
        )

    def test_an_export_is_text_bytes_or_none(self) -> None:
        """`export_graph` answers `str`, `bytes` or `None`, and `None` to a format that it doesn't know."""
        witness = self._witness("export_graph")
        if "export_graph" not in witness.hooks:
            return
        with deployment(self.stop_s):
            flow = flows.weather([witness], flows.Watch())
        for wanted in (*FORMATS, UNKNOWN_FORMAT):
            try:
                answer = flow.export(wanted)
            except LookupError:
                continue
            if wanted == UNKNOWN_FORMAT:
                fail(
                    f"export_graph answered {answer!r:.80} to the format {wanted!r}, and so keeps every other exporter "
                    "from being asked: answer None to a request.format that you don't know"
                )
        refuse(witness.of("export_graph"), "answer with str or bytes, or None to a format that you don't know")
