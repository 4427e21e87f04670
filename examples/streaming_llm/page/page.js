// The page: a question goes out, its answer comes in word by word, by either of two sinks.
import { drawGraph } from "./graph.js";
import { render } from "./markdown.js";
import { bySocket, byEvents } from "./sinks.js";

const $ = (id) => document.getElementById(id);
let going = null; // the trace under way: { id, stop() }
let text = "";
let drawn = true;

function show() {
  if (!drawn) return;
  drawn = false;
  requestAnimationFrame(() => {
    drawn = true;
    const box = $("answer");
    const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
    render(box, text);
    if (follows) box.scrollTop = box.scrollHeight;
  });
}

function begin() {
  text = "";
  show();
  $("error").textContent = "";
  $("sources").hidden = true;
  $("list").replaceChildren();
  busy(true, "Searching …");
}

function busy(is, status) {
  $("answer").setAttribute("aria-busy", String(is));
  const [off, on] = is ? [$("ask"), $("stop")] : [$("stop"), $("ask")];
  on.disabled = false;
  if (document.activeElement === off) on.focus(); // a button that is disabled would lose the keyboard's place
  off.disabled = true;
  say(status);
}

function say(status) { // only what is new: screen readers read it out
  if ($("status").textContent !== status) $("status").textContent = status;
}

function end(status) {
  going = null;
  mark([]);
  busy(false, status);
}

const listener = {
  started(id) { going.id = id; watch(going); },
  chunk(chunk) {
    text += chunk.text;
    say("Answering …");
    show();
  },
  lost() { say("The connection was lost. Trying again …"); },
  restart() { text = ""; show(); },
  result(answer) {
    text = answer.text;
    show();
    $("list").replaceChildren(...answer.citations.map((citation) => {
      const item = document.createElement("li");
      item.textContent = citation;
      return item;
    }));
    $("sources").hidden = answer.citations.length === 0;
  },
  end() { end("Done."); },
  error(problem) {
    if (problem.code === "TRACE_CANCELLED") return end("Stopped.");
    $("error").textContent = problem.detail;
    end("Not answered.");
  },
};

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (going) return;
  begin();
  const form = new FormData($("form"));
  const sink = form.get("sink") === "ws" ? bySocket : byEvents;
  going = sink({ text: form.get("question") }, listener);
});

$("stop").addEventListener("click", () => {
  say("Stopping …");
  going?.stop();
});

// Which node is at work, as the flow explains it.
async function watch(trace) {
  while (trace === going) {
    const answer = await fetch(`flow/traces/${trace.id}`).catch(() => null);
    if (trace !== going || !answer?.ok) break;
    const { waits_for: waits } = await answer.json();
    if (trace === going) mark(waits.map((line) => /node '(.+)' is running/.exec(line)?.[1]));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function mark(names) {
  for (const node of document.querySelectorAll("#graph g[data-name]")) {
    node.classList.toggle("now", names.includes(node.dataset.name));
  }
}

drawGraph($("graph"), await (await fetch("flow/graph")).json());
