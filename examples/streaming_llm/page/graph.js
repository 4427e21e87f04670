// The flow, drawn from /flow/graph: a row for each step from the entries, links downwards, loops at the side.
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE] = [108, 34, 16, 46, 12];

export function drawGraph(box, graph) {
  const rows = inRows(graph);
  const widest = Math.max(...rows.map((row) => row.length));
  const width = widest * (WIDTH + GAP_X) - GAP_X + 2 * EDGE + 28;
  const height = rows.length * (HEIGHT + GAP_Y) - GAP_Y + 2 * EDGE;
  const svg = made("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inWords(graph) });
  const places = new Map();
  rows.forEach((row, down) => row.forEach((name, across) => places.set(name, {
    x: width / 2 + (across - (row.length - 1) / 2) * (WIDTH + GAP_X),
    y: EDGE + HEIGHT / 2 + down * (HEIGHT + GAP_Y),
  })));
  const arrow = made("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  arrow.append(made("path", { d: "M0 0 8 4 0 8z" }));
  svg.append(arrow);
  for (const { source, target } of graph.edges) svg.append(link(places.get(source), places.get(target)));
  for (const node of graph.nodes) svg.append(drawn(node, places.get(node.name)));
  box.replaceChildren(svg);
}

function inRows(graph) {
  const depth = new Map(graph.entries.map((name) => [name, 0]));
  const visit = (name, path) => {
    for (const { source, target } of graph.edges) {
      if (source !== name || path.includes(target)) continue;
      if ((depth.get(target) ?? -1) < path.length) {
        depth.set(target, path.length);
        visit(target, [...path, target]);
      }
    }
  };
  graph.entries.forEach((name) => visit(name, [name]));
  const rows = [];
  for (const { name } of graph.nodes) (rows[depth.get(name) ?? 0] ??= []).push(name);
  return rows.filter((row) => row);
}

function drawn(node, { x, y }) {
  const group = made("g", { "data-name": node.name });
  const round = node.kind === "router" ? 17 : 6;
  const title = made("title", {});
  title.textContent = `${node.name} (${node.kind})${node.doc ? `: ${node.doc}` : ""}`;
  const text = made("text", { x, y });
  text.textContent = node.name.length > 14 ? `${node.name.slice(0, 13)}…` : node.name;
  group.append(title, made("rect", { x: x - WIDTH / 2, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: round }), text);
  return group;
}

function link(from, to) {
  const [side, half] = [from.x + WIDTH / 2, HEIGHT / 2];
  if (to.y <= from.y) { // to itself, or back
    const d = `M${side} ${from.y + 7}C${side + 30} ${from.y + 24} ${side + 30} ${to.y - 24} ${to.x + WIDTH / 2} ${to.y - 7}`;
    return made("path", { d, "marker-end": "url(#arrow)" });
  }
  const [top, bottom] = [from.y + half, to.y - half];
  const middle = (top + bottom) / 2;
  return made("path", { d: `M${from.x} ${top}C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${bottom}`, "marker-end": "url(#arrow)" });
}

function inWords(graph) {
  return `The flow ${graph.name}: ${graph.edges.map(({ source, target }) => `${source} to ${target}`).join(", ")}.`;
}

function made(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
