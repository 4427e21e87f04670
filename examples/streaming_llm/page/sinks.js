// Two ways to the same flow. Each takes the question and who listens, and returns { stop() }.
const LINGERS = 10_000; // ms: for so long the service keeps a trace whose client was lost
const LOST = { detail: "The connection was lost. Ask again." };

export function byEvents(question, listener) {
  const trace = { id: null, stopped: false, stop };
  let source, giveUp, isOver = false;
  begin();
  return trace;

  async function begin() {
    const answer = await ask("flow/traces", question);
    if (!answer.ok) return listener.error(await problemIn(answer));
    trace.id = (await answer.json()).trace_id;
    listener.started(trace.id);
    source = new EventSource(`flow/traces/${trace.id}/events`);
    for (const name of ["chunk", "restart", "result"]) {
      source.addEventListener(name, (event) => listener[name](JSON.parse(event.data)));
    }
    source.addEventListener("open", () => { clearTimeout(giveUp); giveUp = undefined; });
    source.addEventListener("end", () => over(() => listener.end()));
    source.addEventListener("error", (event) => {
      if (event.data) { // the trace's own
        over(() => listener.error(JSON.parse(event.data)));
      } else if (source.readyState === EventSource.CLOSED) {
        over(() => listener.error(LOST));
      } else { // it reconnects by itself
        listener.lost();
        giveUp ??= setTimeout(() => over(() => listener.error(LOST)), LINGERS);
      }
    });
    if (trace.stopped) stop();
  }

  function over(tell) {
    if (isOver) return;
    isOver = true;
    clearTimeout(giveUp);
    source.close();
    tell();
  }

  async function stop() {
    trace.stopped = true;
    if (!trace.id) return;
    await fetch(`flow/traces/${trace.id}`, { method: "DELETE" }).catch(() => over(() => listener.error(LOST)));
  }
}

export function bySocket(question, listener) {
  const url = new URL("flow/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  const trace = { id: null, stop: () => send({ type: "cancel", id: "question" }) };
  let over = false;
  socket.onopen = () => send({ type: "start", id: "question", input: question });
  socket.onmessage = (event) => {
    const { type, data } = JSON.parse(event.data);
    over = type === "end" || type === "error";
    listener[type](type === "started" ? data.trace_id : data);
    if (over) socket.close();
  };
  socket.onclose = () => { if (!over) listener.error(LOST); };
  return trace;

  function send(message) {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    else socket.addEventListener("open", () => send(message), { once: true });
  }
}

async function ask(path, question) {
  const headers = { "content-type": "application/json" };
  try {
    return await fetch(path, { method: "POST", headers, body: JSON.stringify(question) });
  } catch {
    return new Response(null, { status: 503 });
  }
}

async function problemIn(answer) {
  return answer.json().catch(() => ({ detail: "The service doesn't answer. Is it running?" }));
}
