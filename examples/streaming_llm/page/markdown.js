// The little Markdown that answers are written in. Text becomes text nodes, never HTML.

export function render(box, text) {
  const blocks = [];
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    if (line.startsWith("```")) {
      const start = at + 1;
      do at += 1; while (at < lines.length && !lines[at].startsWith("```"));
      blocks.push(code(lines.slice(start, at).join("\n")));
    } else if (/^\s*(?:[-*+]|\d+[.)])\s/.test(line)) {
      const start = at;
      while (at + 1 < lines.length && /^\s*(?:[-*+]|\d+[.)])\s/.test(lines[at + 1])) at += 1;
      blocks.push(list(lines.slice(start, at + 1)));
    } else if (line.trim()) {
      const start = at;
      while (at + 1 < lines.length && lines[at + 1].trim() && !/^(?:```|\s*[-*+]\s)/.test(lines[at + 1])) at += 1;
      blocks.push(element("p", inline(lines.slice(start, at + 1).join(" "))));
    }
  }
  box.replaceChildren(...blocks);
}

function code(text) {
  return element("pre", [element("code", [text])]);
}

function list(lines) {
  return element("ul", lines.map((line) => element("li", inline(line.replace(/^\s*(?:[-*+]|\d+[.)])\s+/, "")))));
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.length > 2 && part.startsWith("`")) return element("code", [part.slice(1, -1)]);
    if (part.length > 4 && part.startsWith("**")) return element("strong", [part.slice(2, -2)]);
    return part;
  });
}

function element(name, children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}
