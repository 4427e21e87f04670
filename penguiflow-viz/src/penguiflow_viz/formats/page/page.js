"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const stage = document.getElementById("stage");
  const svg = stage.querySelector("svg");
  const details = document.getElementById("details");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const full = svg.viewBox.baseVal;
  const whole = { x: full.x, y: full.y, w: full.width, h: full.height };
  const items = new Map();
  for (const item of [...data.clusters.slice(1), ...data.boxes]) {
    items.set(item.id, { ...item, element: document.getElementById(item.id), before: [], after: [] });
  }
  for (const link of data.links) {
    items.get(link.source).after.push(link);
    items.get(link.target).before.push(link);
  }
  const order = [...items.values()];
  const tags = new Map([...svg.querySelectorAll(".pf-tag")].map((tag) => [tag.dataset.link, tag]));
  let view = { ...whole };
  let chosen = null;
  let hits = [];
  let hit = -1;

  // --- what is seen

  const scale = () => Math.min(stage.clientWidth / view.w, stage.clientHeight / view.h) || 1;
  const show = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);

  function at(event) {
    const box = stage.getBoundingClientRect();
    const by = scale();
    const left = (box.width - view.w * by) / 2;
    const top = (box.height - view.h * by) / 2;
    return { x: view.x + (event.clientX - box.left - left) / by, y: view.y + (event.clientY - box.top - top) / by };
  }

  function zoom(by, point = { x: view.x + view.w / 2, y: view.y + view.h / 2 }) {
    const least = Math.min(whole.w, 60) / view.w;
    const most = (8 * Math.max(whole.w, stage.clientWidth)) / view.w;
    const factor = Math.min(Math.max(1 / by, least), most);
    view = {
      x: point.x - (point.x - view.x) * factor,
      y: point.y - (point.y - view.y) * factor,
      w: view.w * factor,
      h: view.h * factor,
    };
    show();
  }

  function fit() {
    view = { ...whole };
    const by = scale();
    if (by > 1) {
      view = { x: view.x - (view.w * (by - 1)) / 2, y: view.y - (view.h * (by - 1)) / 2, w: view.w * by, h: view.h * by };
    }
    show();
  }

  function bring(item) {
    const box = item.element.getBBox();
    if (scale() < 0.7) {
      const by = 1 / scale();
      view = { ...view, w: view.w / by, h: view.h / by };
      view.x = box.x + box.width / 2 - view.w / 2;
      view.y = box.y + box.height / 2 - view.h / 2;
    }
    const room = 30;
    const by = scale();
    const wide = stage.clientWidth / by;
    const high = stage.clientHeight / by;
    const left = view.x - (wide - view.w) / 2;
    const top = view.y - (high - view.h) / 2;
    view.x += Math.min(0, box.x - room - left) || Math.max(0, box.x + Math.min(box.width, wide - 2 * room) + room - left - wide);
    view.y += Math.min(0, box.y - room - top) || Math.max(0, box.y + Math.min(box.height, high - 2 * room) + room - top - high);
    show();
  }

  // --- details

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function help() {
    const name = element("h2", data.clusters[0].label);
    const lines = data.clusters[0].tooltip.slice(1).map((line) => element("p", line));
    const legend = data.legend.map((line) => element("p", line));
    const keys = element("p", undefined, "kind");
    const said = [["Tab", "next node"], ["Enter", "keep its details"], ["Arrows", "along the edges"], ["/", "search"], ["+ - 0", "zoom"], ["Esc", "let go"]];
    for (const [key, what] of said) keys.append(element("kbd", key), ` ${what}\n`);
    details.replaceChildren(name, element("p", "flow", "kind"), ...lines, ...legend, element("h3", "Keys"), keys);
  }

  function neighbours(title, links, end) {
    if (!links.length) return [];
    const list = element("ul");
    for (const link of links) {
      const other = items.get(link[end]);
      const button = element("button", link.label ? `${other.label} (${link.label})` : other.label);
      button.type = "button";
      button.addEventListener("click", () => choose(other));
      const row = element("li");
      row.append(button);
      for (const line of link.tooltip) row.append(element("p", line, "kind"));
      list.append(row);
    }
    return [element("h3", title), list];
  }

  function tell(item) {
    const lines = item.tooltip.slice(1).map((line) => element("p", line));
    const badges = item.badges.map((line) => element("p", line));
    details.replaceChildren(
      element("h2", item.label),
      element("p", item.kind, "kind"),
      ...badges,
      ...lines,
      ...neighbours("From", item.before, "source"),
      ...neighbours("To", item.after, "target"),
    );
  }

  function look(item) {
    for (const on of svg.querySelectorAll(".on")) on.classList.remove("on");
    document.body.classList.toggle("looking", Boolean(item) && item.before.length + item.after.length > 0);
    if (!item) return help();
    item.element.classList.add("on");
    for (const link of [...item.before, ...item.after]) {
      document.getElementById(link.id).classList.add("on");
      tags.get(link.id)?.classList.add("on");
      for (const end of [link.source, link.target]) light(items.get(end));
    }
    if (item.opensea) light(item);
    tell(item);
  }

  function light(item) {
    item.element.classList.add("on");
    for (const inner of order) {
      if (inner.cluster === item.id || inner.parent === item.id) light(inner);
    }
    for (const link of data.links) {
      if (link.cluster === item.id) document.getElementById(link.id).classList.add("on");
    }
  }

  function keep(item) {
    if (chosen) {
      chosen.element.classList.remove("chosen");
      chosen.element.setAttribute("aria-pressed", "false");
    }
    chosen = item;
    if (item) {
      item.element.classList.add("chosen");
      item.element.setAttribute("aria-pressed", "true");
    }
    look(item);
  }

  function choose(item) {
    keep(item);
    item.element.focus({ preventScroll: true });
    bring(item);
  }

  // --- search

  function find() {
    const wanted = search.value.trim().toLowerCase();
    for (const old of hits) old.element.classList.remove("hit");
    hits = wanted ? order.filter((item) => matches(item, wanted)) : [];
    hit = -1;
    for (const item of hits) item.element.classList.add("hit");
    document.body.classList.toggle("searching", Boolean(wanted));
    found.textContent = wanted ? `${hits.length} found` : "";
  }

  function matches(item, wanted) {
    return item.name.toLowerCase().includes(wanted) || item.label.toLowerCase().includes(wanted);
  }

  function next(by) {
    if (!hits.length) return;
    hit = (hit + by + hits.length) % hits.length;
    found.textContent = `${hit + 1} of ${hits.length}`;
    keep(hits[hit]);
    bring(hits[hit]);
  }

  // --- keys

  function along(item, key) {
    const back = key === "ArrowUp" || key === "ArrowLeft";
    const ways = back ? item.before : item.after;
    const way = ways.find((link) => link.source !== link.target);
    if (way) choose(items.get(back ? way.source : way.target));
  }

  function onItemKey(event, item) {
    if (event.key === "Enter" || event.key === " ") keep(chosen === item ? null : item);
    else if (event.key.startsWith("Arrow")) along(item, event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      search.value = "";
      find();
      keep(null);
      return;
    }
    if (event.target instanceof HTMLInputElement) return;
    const step = 60 / scale();
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key === "/") search.focus();
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (event.key in moves && event.target === document.body) {
      view.x += moves[event.key][0];
      view.y += moves[event.key][1];
      show();
    } else return;
    event.preventDefault();
  }

  // --- pointers

  const pointers = new Map();
  let travelled = 0;

  function middle() {
    const all = [...pointers.values()];
    const x = all.reduce((sum, p) => sum + p.clientX, 0) / all.length;
    const y = all.reduce((sum, p) => sum + p.clientY, 0) / all.length;
    const apart = all.length > 1 ? Math.hypot(all[0].clientX - all[1].clientX, all[0].clientY - all[1].clientY) : 0;
    return { clientX: x, clientY: y, apart };
  }

  function onDown(event) {
    if (event.button !== 0) return;
    if (!pointers.size) travelled = 0;
    pointers.set(event.pointerId, event);
  }

  function onMove(event) {
    if (!pointers.has(event.pointerId)) return;
    const was = middle();
    pointers.set(event.pointerId, event);
    const is = middle();
    travelled += Math.hypot(is.clientX - was.clientX, is.clientY - was.clientY);
    if (travelled < 4) return;
    if (!stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragged");
    view.x -= (is.clientX - was.clientX) / scale();
    view.y -= (is.clientY - was.clientY) / scale();
    if (was.apart && is.apart) zoom(is.apart / was.apart, at(is));
    show();
  }

  function onUp(event) {
    pointers.delete(event.pointerId);
    if (!pointers.size) stage.classList.remove("dragged");
  }

  function onWheel(event) {
    event.preventDefault();
    const turned = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    zoom(Math.exp(-Math.max(-240, Math.min(240, turned)) / 400), at(event));
  }

  // --- light and dark

  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");

  function dress(theme) {
    document.body.classList.remove(...themes.map((name) => `pf-${name}`));
    document.body.classList.add(`pf-${theme}`);
    button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
    button.setAttribute("aria-label", `Colours: ${button.textContent}`);
  }

  function redress() {
    const now = themes.findIndex((name) => document.body.classList.contains(`pf-${name}`));
    dress(themes[(now + 1) % themes.length]);
  }

  // --- beginning

  for (const title of svg.querySelectorAll("title")) title.remove();
  for (const item of order) {
    const { element: drawn } = item;
    drawn.setAttribute("tabindex", "0");
    drawn.setAttribute("role", "button");
    drawn.setAttribute("aria-pressed", "false");
    drawn.setAttribute("aria-label", [item.label, item.kind, ...item.details, ...item.badges].join(", "));
    drawn.addEventListener("pointerenter", () => chosen || look(item));
    drawn.addEventListener("pointerleave", () => chosen || look(null));
    drawn.addEventListener("focus", () => {
      if (drawn.matches(":focus-visible")) {
        if (!chosen) look(item);
        bring(item);
      }
    });
    drawn.addEventListener("blur", () => chosen || look(null));
    drawn.addEventListener("keydown", (event) => onItemKey(event, item));
    drawn.addEventListener("click", (event) => {
      event.stopPropagation();
      if (travelled < 4) keep(chosen === item ? null : item);
    });
  }
  stage.addEventListener("click", () => travelled < 4 && keep(null));
  stage.addEventListener("pointerdown", onDown);
  stage.addEventListener("pointermove", onMove);
  for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, onUp);
  stage.addEventListener("wheel", onWheel, { passive: false });
  search.addEventListener("input", find);
  search.form.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    next(event.shiftKey ? -1 : 1);
  });
  document.addEventListener("keydown", onKey);
  document.getElementById("in").addEventListener("click", () => zoom(1.25));
  document.getElementById("out").addEventListener("click", () => zoom(0.8));
  document.getElementById("fit").addEventListener("click", fit);
  button.addEventListener("click", redress);
  dress(themes.find((name) => document.body.classList.contains(`pf-${name}`)));
  document.body.classList.add("moves");
  help();
  fit();
})();
