"""Cycles are those that another library finds, and the links that close them are enough to cut them all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from igraph import Graph

from penguiflow_viz.cycles import closing, components

Edges = list[list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Edges:
    count = draw(st.integers(1, 12))
    return [sorted(draw(st.sets(st.integers(0, count - 1), max_size=4))) for _ in range(count)]


def as_igraph(after: Edges, without: set[tuple[int, int]] = frozenset()) -> Graph:  # type: ignore[assignment]
    edges = [(s, t) for s, targets in enumerate(after) for t in targets if (s, t) not in without]
    return Graph(n=len(after), edges=edges, directed=True)


@given(graphs())
def test_components_are_those_that_igraph_finds(after: Edges):
    groups = [sorted(group) for group in as_igraph(after).connected_components(mode="strong")]
    assert components(after) == sorted(g for g in groups if len(g) > 1 or g[0] in after[g[0]])


@given(graphs())
def test_without_the_closing_edges_nothing_goes_round(after: Edges):
    back = closing(after, [0])
    assert as_igraph(after, back).is_dag()
    assert all(target in after[source] for source, target in back)
    assert bool(back) == bool(components(after))


def test_an_edge_closes_a_cycle_if_it_leads_back_to_the_way_from_the_entry():
    assert closing([[1], [2], [0, 3], [3]], [0]) == {(2, 0), (3, 3)}
    assert closing([[1], [2], [0]], [1]) == {(0, 1)}


def test_a_long_chain_is_no_deep_stack():
    count = 20_000
    ring = [[(place + 1) % count] for place in range(count)]
    assert components(ring) == [list(range(count))]
    assert closing(ring, [0]) == {(count - 1, 0)}
