"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const TOKEN = "penguiflow-view-token";
  const body = document.body;
  const items = new Map(); // what is drawn, by its id
  const links = []; // the links' elements, in the order of the snapshots
  const entries = new Map(); // the rows of the list of traces, by the traces' ids
  let token = null;
  let latest = null; // the last snapshot
  let due = false; // whether it is yet to be shown
  let carried = [];
  let chosen = null; // the id of the trace that is looked at
  let fetched = { id: null, at: 0, done: false };
  let over = false;

  // --- asking

  try {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given) sessionStorage.setItem(TOKEN, given);
    token = sessionStorage.getItem(TOKEN);
  } catch {
    token = new URLSearchParams(location.hash.slice(1)).get("token");
  }
  if (location.hash.includes("token=")) history.replaceState(null, "", location.pathname);

  function ask(path, options = {}) {
    const headers = { "X-PenguiFlow-View": "1" };
    if (token) headers.Authorization = `Bearer ${token}`;
    return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  }

  function state(name, text) {
    $("state").className = name;
    $("state").textContent = text;
    body.classList.toggle("stale", name !== "live");
  }

  async function begin() {
    const answer = await ask(`/api/drawing?direction=${innerWidth > 800 ? "LR" : "TB"}`);
    if (answer.status === 401) {
      $("wrong").textContent = token ? "That isn't the token." : "";
      $("ask").hidden = false;
      $("main").hidden = true;
      $("token").focus();
      return;
    }
    if (!answer.ok) throw new Error(await answer.text());
    $("ask").hidden = true;
    $("main").hidden = false;
    if (!items.size) draw(await answer.json());
    follow();
  }

  async function follow() {
    for (let wait = 1; !over; wait = Math.min(2 * wait, 15)) {
      try {
        const answer = await ask("/api/events");
        if (answer.ok) {
          wait = 1;
          state("live", "live");
          await read(answer.body);
        } else {
          state("lost", await answer.text());
        }
      } catch {
        // the connection broke
      }
      if (over) return;
      state("lost", "connection lost");
      await new Promise((done) => setTimeout(done, wait * 1000));
    }
  }

  async function read(stream) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) heard(event);
    }
  }

  function heard(event) {
    const data = event.split("\n").find((line) => line.startsWith("data: "));
    if (event.startsWith("event: over")) {
      over = true;
      $("cancel").hidden = true;
      state("over", "the flow has stopped");
    } else if (data) {
      latest = JSON.parse(data.slice(6));
      if (!due) {
        due = true;
        requestAnimationFrame(show);
      }
    }
  }

  // --- the graph

  function draw({ svg, data }) {
    const name = data.clusters[0].label;
    $("name").textContent = document.title = name;
    const drawn = document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
    $("stage").replaceChildren(drawn);
    for (const item of [...data.clusters.slice(1), ...data.boxes]) {
      const element = drawn.querySelector(`#${item.id}`);
      items.set(item.id, { ...item, element, shown: "", cells: null });
    }
    for (const link of data.links) links.push(drawn.querySelector(`#${link.id}`));
    for (const item of items.values()) if (item.kind !== "opensea" && item.kind !== "rookery") listen(item);
    resize(Math.max(whole(), 0.6));
  }

  function listen(item) {
    const { element } = item;
    element.setAttribute("tabindex", "0");
    element.setAttribute("role", "button");
    element.setAttribute("aria-label", item.label);
    element.addEventListener("click", (event) => {
      event.stopPropagation();
      point(item);
    });
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      point(item);
    });
    const row = make("tr");
    item.cells = ["", "0", "0", "0", "0", "0", "", "", ""].map((text) => make("td", text));
    item.cells[0].textContent = item.label;
    item.cells[0].title = item.node_id;
    row.append(...item.cells);
    if (item.node_id) $("rows").append(row);
  }

  function point(item) {
    for (const other of items.values()) {
      other.element.classList.toggle("on", other === item);
      other.cells?.[0].parentNode?.classList.toggle("on", other === item);
    }
    tab("nodes");
    item.cells[0].scrollIntoView({ block: "nearest" });
  }

  let size = 1;
  const svg = () => $("stage").querySelector("svg");
  function resize(to) {
    const box = svg().viewBox.baseVal;
    size = Math.min(Math.max(to, 0.05), 3);
    svg().setAttribute("width", box.width * size);
    svg().setAttribute("height", box.height * size);
  }
  function whole() {
    const box = svg().viewBox.baseVal;
    return Math.min(($("stage").clientWidth - 4) / box.width, ($("stage").clientHeight - 4) / box.height, 1.2);
  }
  function fit() {
    if (svg()) resize(whole());
  }

  // --- what goes on

  function show() {
    due = false;
    totals(latest.totals);
    for (const [id, item] of items) counts(item, latest.nodes[id] || {}, latest.totals);
    latest.links.forEach((count, place) => {
      links[place].classList.toggle("busy", carried.length > 0 && count > carried[place]);
    });
    carried = latest.links;
    traces();
    mishaps(latest.mishaps);
    if (chosen !== null) look(false);
  }

  const TOTALS = ["in flight", "waiting", "entering", "completed", "failed", "cancelled", "expired", "errors", "unfetched"];
  const RARE = new Set(["entering", "cancelled", "expired", "unfetched"]);
  const BAD = new Set(["failed", "errors"]);

  function totals(now) {
    for (const name of TOTALS) {
      let entry = $(`total-${name.replace(" ", "-")}`);
      if (!entry) {
        entry = make("div");
        entry.id = `total-${name.replace(" ", "-")}`;
        entry.append(make("dt", name), make("dd"));
        $("totals").append(entry);
      }
      entry.hidden = RARE.has(name) && !now[name];
      entry.classList.toggle("bad", BAD.has(name) && now[name] > 0);
      entry.lastChild.textContent = now[name].toLocaleString("en");
    }
  }

  function counts(item, now, all) {
    const top = item.cluster === "c0";
    const waiting = item.kind === "opensea" && top ? all.entering : item.kind === "rookery" && top ? all.unfetched : now.waiting || 0;
    const pills = [];
    if (now.running) pills.push(["run", `${now.running} running`]);
    if (waiting) pills.push(["wait", `${waiting} ${item.kind === "rookery" ? "unfetched" : "waiting"}`]);
    if (now.errors) pills.push(["bad", `${now.errors} ${now.errors === 1 ? "error" : "errors"}`]);
    const wanted = JSON.stringify(pills);
    if (wanted !== item.shown) {
      item.shown = wanted;
      item.element.classList.toggle("runs", Boolean(now.running));
      item.element.setAttribute("aria-label", [item.label, ...pills.map(([, text]) => text)].join(", "));
      hang(item, pills);
    }
    if (item.cells) fill(item.cells, now);
  }

  function hang(item, pills) {
    item.element.querySelectorAll(":scope > .pill").forEach((old) => old.remove());
    const box = item.element.querySelector("rect, polygon").getBBox();
    const made = pills.map(([kind, text]) => {
      const pill = document.createElementNS(SVG, "g");
      const label = document.createElementNS(SVG, "text");
      const back = document.createElementNS(SVG, "rect");
      pill.setAttribute("class", `pill ${kind}`);
      label.textContent = text;
      pill.append(back, label);
      item.element.append(pill);
      return { back, label, wide: label.getComputedTextLength() + 12 };
    });
    const wide = made.reduce((sum, pill) => sum + pill.wide + 2, -2);
    let x = item.tooltip[0]?.endsWith("(subflow)") || item.kind === "playbook" ? box.x + box.width - wide - 10 : box.x + (box.width - wide) / 2;
    for (const { back, label, wide: each } of made) {
      for (const [name, value] of [["x", x], ["y", box.y - 13], ["width", each], ["height", 17], ["rx", 8.5]]) back.setAttribute(name, value);
      label.setAttribute("x", x + 6);
      label.setAttribute("y", box.y - 0.8);
      x += each + 2;
    }
  }

  function fill(cells, now) {
    const texts = [now.running || 0, now.waiting || 0, now.runs || 0, now.errors || 0, now.retries || 0].map((n) => n.toLocaleString("en"));
    texts.push(now.p50 === undefined ? "" : time(now.p50), now.p95 === undefined ? "" : time(now.p95), now.error || "");
    texts.forEach((text, place) => {
      const cell = cells[place + 1];
      if (cell.textContent !== text) cell.textContent = text;
    });
    cells[1].classList.toggle("some", Boolean(now.running));
    cells[2].classList.toggle("much", Boolean(now.waiting));
    cells[4].classList.toggle("bad", Boolean(now.errors));
  }

  // --- traces

  function traces() {
    const list = $("traces");
    const seen = new Set();
    let next = list.firstChild;
    for (const trace of latest.traces) {
      if (seen.has(trace.id)) continue;
      seen.add(trace.id);
      const entry = entries.get(trace.id) || enter(trace.id);
      if (entry.row === next) next = next.nextSibling;
      else list.insertBefore(entry.row, next);
      tell(entry, trace);
    }
    for (const [id, entry] of entries) {
      if (seen.has(id)) continue;
      entry.row.remove();
      entries.delete(id);
    }
    $("none").hidden = seen.size > 0;
    $("unlisted").textContent = latest.unlisted ? `and ${latest.unlisted.toLocaleString("en")} more in flight` : "";
  }

  function enter(id) {
    const entry = { row: make("li"), open: make("button"), chip: make("span"), id: make("span", id, "id"), more: make("span", "", "more"), stop: make("button", "Cancel", "stop") };
    entry.open.type = entry.stop.type = "button";
    entry.open.className = "open";
    entry.id.title = id;
    entry.stop.setAttribute("aria-label", `Cancel trace ${id}`);
    entry.open.append(entry.chip, entry.id, entry.more);
    entry.row.append(entry.open, entry.stop);
    entry.row.dataset.trace = id;
    entry.open.addEventListener("click", () => choose(id));
    entry.stop.addEventListener("click", () => cancel(id, entry.stop));
    entries.set(id, entry);
    return entry;
  }

  function tell(entry, trace) {
    const outcome = trace.outcome || "in flight";
    entry.row.classList.toggle("on", trace.id === chosen);
    entry.chip.className = `chip ${trace.outcome || "going"}`;
    entry.chip.textContent = outcome;
    entry.more.textContent = facts(trace).join(" · ");
    entry.stop.hidden = Boolean(trace.outcome) || over;
  }

  function facts(trace) {
    const parts = [time(((trace.ended ?? latest.at) - trace.began) * 1000)];
    if (trace.now.length) parts.push(`in ${trace.now.join(", ")}`);
    parts.push(`${trace.runs.toLocaleString("en")} ${trace.runs === 1 ? "run" : "runs"}`);
    if (trace.errors) parts.push(`${trace.errors} ${trace.errors === 1 ? "error" : "errors"}`);
    if (trace.retries) parts.push(`${trace.retries} ${trace.retries === 1 ? "retry" : "retries"}`);
    return parts;
  }

  function choose(id) {
    chosen = id;
    fetched = { id, at: 0, done: false };
    for (const [other, entry] of entries) entry.row.classList.toggle("on", other === id);
    tab("trace");
    look(true);
  }

  let later = 0;
  async function look(now) {
    if ($("panel-trace").hidden || fetched.done) return;
    const rest = fetched.at + 1000 - performance.now();
    if (!now && rest > 0) {
      later ||= setTimeout(() => look(true), rest);
      return;
    }
    clearTimeout(later);
    later = 0;
    const mine = (fetched = { id: chosen, at: performance.now(), done: false });
    try {
      const answer = await ask(`/api/trace?id=${encodeURIComponent(mine.id)}&wide=${$("panel-trace").clientWidth}`);
      if (fetched !== mine) return;
      $("choose").hidden = answer.ok;
      $("chosen").hidden = !answer.ok;
      if (!answer.ok) {
        mine.done = true;
        $("choose").textContent = await answer.text();
        return;
      }
      const found = await answer.json();
      if (fetched === mine) present(found);
      mine.done = Boolean(found.trace.outcome);
    } catch {
      // the connection broke: `follow` says so
    }
  }

  function present({ trace, svg, waits }) {
    $("which").textContent = trace.id;
    const chip = make("span", trace.outcome || "in flight", `chip ${trace.outcome || "going"}`);
    $("how").replaceChildren(chip, ` ${[...facts(trace), trace.error].filter(Boolean).join(" · ")}`);
    $("cancel").hidden = Boolean(trace.outcome) || over;
    $("waits").replaceChildren(...waits.map((line) => make("li", line)));
    const drawn = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
    $("waterfall").replaceChildren(document.importNode(drawn, true));
  }

  async function cancel(id, button) {
    button.disabled = true;
    try {
      const answer = await ask("/api/cancel", { method: "POST", body: id });
      const text = answer.ok ? ((await answer.json()).cancelled ? "is cancelled" : "had ended already") : await answer.text();
      $("said").textContent = `Trace ${id.length > 20 ? `${id.slice(0, 19)}…` : id} ${text}.`;
    } catch {
      $("said").textContent = "The flow can't be reached.";
    }
    button.disabled = false;
    if (id === chosen) look(true);
  }

  // --- errors

  let told = "";
  function mishaps(list) {
    $("errors").textContent = latest.totals.errors ? `(${latest.totals.errors.toLocaleString("en")})` : "";
    const text = JSON.stringify(list);
    if (text === told) return;
    told = text;
    $("well").hidden = list.length > 0;
    const rows = list.map(([ts, id, , name, error]) => {
      const row = make("li");
      const open = make("button", name);
      open.type = "button";
      open.title = `Show trace ${id}`;
      open.addEventListener("click", () => choose(id));
      row.append(make("span", new Date(ts * 1000).toLocaleTimeString("en-GB")), open, ` ${error}`);
      return row;
    });
    $("mishaps").replaceChildren(...rows);
  }

  // --- the rest

  function make(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function time(ms) {
    if (ms < 0.9995) return `${Math.max(0, Math.round(ms * 1000))} µs`;
    if (ms < 999.5) return `${Number(ms.toPrecision(3))} ms`;
    const s = ms / 1000;
    if (s < 99.95) return `${Number(s.toPrecision(3))} s`;
    return s < 3600 ? `${Math.floor(s / 60)} min ${String(Math.round(s) % 60).padStart(2, "0")} s` : `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} min`;
  }

  const TABS = ["trace", "nodes", "errors"];
  function tab(name) {
    for (const each of TABS) {
      $(`panel-${each}`).hidden = each !== name;
      $(`tab-${each}`).setAttribute("aria-selected", each === name);
      $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
    }
    if (name === "trace" && chosen !== null) look(false);
  }
  TABS.forEach((name, place) => {
    $(`tab-${name}`).addEventListener("click", () => tab(name));
    $(`tab-${name}`).addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = TABS[(place + by + TABS.length) % TABS.length];
      tab(next);
      $(`tab-${next}`).focus();
    });
  });

  const THEMES = ["auto", "light", "dark"];
  function dress(theme) {
    body.classList.remove(...THEMES.map((name) => `pf-${name}`));
    body.classList.add(`pf-${theme}`);
    $("theme").textContent = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
    $("theme").setAttribute("aria-label", `Colours: ${$("theme").textContent}`);
  }
  $("theme").addEventListener("click", () => dress(THEMES[(THEMES.findIndex((name) => body.classList.contains(`pf-${name}`)) + 1) % 3]));
  $("in").addEventListener("click", () => resize(size * 1.25));
  $("out").addEventListener("click", () => resize(size / 1.25));
  $("fit").addEventListener("click", fit);
  $("cancel").addEventListener("click", () => cancel(chosen, $("cancel")));
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value;
    try {
      sessionStorage.setItem(TOKEN, token);
    } catch {
      // kept for as long as the page is open
    }
    begin().catch(failed);
  });

  function failed(error) {
    state("lost", String(error.message || error));
  }
  dress("auto");
  tab("trace");
  begin().catch(failed);
})();
