// The topology as a picture, with records that move through it.

import { byId, count, setText, svg } from "./dom.js";

const WIDE = {
  width: 1120, height: 352, halfWidth: 66, halfHeight: 30,
  nodes: {
    jobs: [82, 170], decode: [272, 170], filter: [462, 170], execute: [668, 170], encode: [858, 170],
    results: [1038, 170], dead: [272, 288], skipped: [462, 288], server: [668, 48],
  },
  retry: { path: "M 638 200 C 618 284, 718 284, 699 207", label: [668, 264] },
  commit: { path: "M 1038 200 L 1038 322 Q 1038 338 1022 338 L 98 338 Q 82 338 82 322 L 82 200", label: [858, 338] },
};
const TALL = {
  width: 390, height: 712, halfWidth: 62, halfHeight: 27,
  nodes: {
    jobs: [150, 36], decode: [150, 162], filter: [150, 288], execute: [150, 414], encode: [150, 540],
    results: [150, 672], dead: [322, 162], skipped: [322, 288], server: [322, 414],
  },
  retry: { path: "M 180 441 C 196 506, 284 500, 219 424", label: [256, 486] },
  commit: { path: "M 88 672 L 44 672 Q 28 672 28 656 L 28 52 Q 28 36 44 36 L 88 36", label: [28, 350] },
};
const NODES = [
  ["jobs", "topic"], ["decode", "stage"], ["filter", "stage"], ["execute", "stage"], ["encode", "stage"],
  ["results", "topic"], ["dead", "topic"], ["skipped", "end"], ["server", "end"],
];
const TITLES = {
  jobs: "jobs", decode: "decode", filter: "filter", execute: "execute", encode: "encode", results: "results",
  dead: "dead letters", skipped: "skipped", server: "mail server",
};
const EDGES = [
  ["fetched", "jobs", "decode"], ["decoded", "decode", "filter"], ["admitted", "filter", "execute"],
  ["executed", "execute", "encode"], ["results", "encode", "results"], ["dead", "decode", "dead"],
  ["skipped", "filter", "skipped"], ["mails", "execute", "server"],
];
const DOTS_A_FRAME = 5;
const DOTS_MAX = 90;
const DOT_MS = 900;

const narrow = window.matchMedia("(max-width: 700px)");
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

let layout;
let edges = {};
let notes = {};
let boxes = {};
let dots;
let shown = null;
let moving = [];

// From the border of one node to that of the other, in a straight line.
const line = ([x1, y1], [x2, y2]) => {
  const { halfWidth, halfHeight } = layout;
  const dx = Math.sign(x2 - x1);
  const dy = dx ? 0 : Math.sign(y2 - y1);
  const from = [x1 + dx * halfWidth, y1 + dy * halfHeight];
  const to = [x2 - dx * (halfWidth + 7), y2 - dy * (halfHeight + 7)];
  return { path: `M ${from.join(" ")} L ${to.join(" ")}`, label: [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2] };
};

const shape = (kind, [x, y]) => {
  const { halfWidth: w, halfHeight: h } = layout;
  if (kind !== "topic") return svg("rect", { class: "box", x: x - w, y: y - h, width: 2 * w, height: 2 * h, rx: kind === "end" ? h : 10 });
  const cap = 9;
  return svg("g", {},
    svg("path", { class: "box", d: `M ${x - w + cap} ${y - h} L ${x + w - cap} ${y - h} A ${cap} ${h} 0 0 1 ${x + w - cap} ${y + h} L ${x - w + cap} ${y + h} A ${cap} ${h} 0 0 1 ${x - w + cap} ${y - h} Z` }),
    svg("path", { class: "cap", d: `M ${x + w - cap} ${y - h} A ${cap} ${h} 0 0 0 ${x + w - cap} ${y + h}` }));
};

const drawEdge = (name, { path, label }) => {
  const way = svg("path", { class: `edge ${name}`, d: path, "marker-end": "url(#arrow)" });
  const text = svg("text", { class: "count", x: label[0], y: label[1] + 4, "text-anchor": "middle" }, "0");
  const pill = svg("rect", { class: "pill", height: 20, y: label[1] - 10, rx: 10 });
  edges[name] = { way, text, pill, at: label[0], length: 0, value: null };
  return [way, svg("g", { "data-edge": name }, pill, text)];
};

const draw = () => {
  layout = narrow.matches ? TALL : WIDE;
  edges = {}; notes = {}; boxes = {}; moving = [];
  const arrow = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    svg("path", { class: "arrow", d: "M 0 0 L 8 4 L 0 8 Z" }));
  const drawn = EDGES.map(([name, from, to]) => drawEdge(name, line(layout.nodes[from], layout.nodes[to])));
  drawn.push(drawEdge("retried", layout.retry), drawEdge("commits", layout.commit));
  const ways = drawn.map(([way]) => way);
  const labels = drawn.map(([, label]) => label);
  const nodes = NODES.map(([name, kind]) => {
    const [middle, y] = layout.nodes[name];
    // The cap of a topic takes a part of its right.
    const x = kind === "topic" ? middle - 5 : middle;
    notes[name] = svg("text", { class: "note", x, y: y + 15, "text-anchor": "middle" });
    boxes[name] = svg("g", { class: `node ${kind}`, "data-node": name }, shape(kind, [middle, y]),
      svg("text", { class: "name", x, y: y - 1, "text-anchor": "middle" }, TITLES[name]), notes[name]);
    return boxes[name];
  });
  dots = svg("g", { class: "dots" });
  byId("picture").replaceChildren(
    svg("svg", { viewBox: `0 0 ${layout.width} ${layout.height}`, role: "img", "aria-label": "The way of a record from its topic to its result, with counts" },
      svg("defs", {}, arrow), ways, dots, labels, nodes));
  for (const edge of Object.values(edges)) edge.length = edge.way.getTotalLength();
  if (shown) show(shown);
};

const setCount = (name, value) => {
  const edge = edges[name];
  if (edge.value === value) return;
  const news = edge.value === null ? 0 : value - edge.value;
  edge.value = value;
  const label = name === "retried" ? `${count(value)} retries` : name === "commits" ? `${count(value)} commits` : count(value);
  setText(edge.text, narrow.matches && name === "commits" ? count(value) : label);
  const width = edge.text.textContent.length * 7.4 + 14;
  edge.pill.setAttribute("width", width);
  edge.pill.setAttribute("x", edge.at - width / 2);
  edge.pill.parentNode.classList.toggle("idle", value === 0);
  if (news > 0 && !still.matches && !document.hidden) begin(name, Math.min(news, DOTS_A_FRAME));
};

const begin = (name, many) => {
  const start = performance.now();
  for (let i = 0; i < many && moving.length < DOTS_MAX; i += 1) {
    const dot = svg("circle", { class: `dot ${name}`, r: 4.5 });
    dot.style.visibility = "hidden";
    dots.append(dot);
    moving.push({ dot, edge: edges[name], start: start + (i * 100) / many });
  }
  if (moving.length > 0) requestAnimationFrame(move);
};

let frame = null;
const move = (now) => {
  if (frame === now) return;
  frame = now;
  moving = moving.filter(({ dot, edge, start }) => {
    const part = (now - start) / DOT_MS;
    if (part >= 1) { dot.remove(); return false; }
    if (part >= 0) {
      const { x, y } = edge.way.getPointAtLength(edge.length * part);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", y);
      dot.style.visibility = "visible";
    }
    return true;
  });
  if (moving.length > 0) requestAnimationFrame(move);
};

const note = (name, text, state = "") => {
  setText(notes[name], text);
  if (boxes[name].dataset.state !== state) boxes[name].dataset.state = state;
};

export const show = (snapshot) => {
  shown = snapshot;
  const { counts, play } = snapshot;
  const inFlight = snapshot.partitions.reduce((sum, partition) => sum + partition.in_flight, 0);
  const lags = snapshot.partitions.map((partition) => partition.lag).filter((lag) => lag !== null);
  const brokerAway = play?.switches.some(({ name, on }) => on && name === "broker-away");
  setCount("fetched", counts.fetched);
  setCount("decoded", counts.fetched - counts.dead_lettered);
  setCount("admitted", counts.fetched - counts.dead_lettered - counts.skipped);
  setCount("executed", counts.results);
  setCount("results", play ? play.account.accepted + play.account.duplicates + play.account.rejected + play.account.exhausted + play.account.ambiguous : counts.results);
  setCount("dead", play ? play.account.dead_letters : counts.dead_letters);
  setCount("skipped", counts.skipped);
  setCount("mails", play ? play.account.mails : counts.executed);
  setCount("retried", counts.retried);
  setCount("commits", counts.commits);
  const lag = lags.reduce((sum, it) => sum + it, 0);
  const records = play ? `${count(play.account.records)} records` : lags.length ? `lag ${count(lag)}` : "";
  note("jobs", brokerAway ? "broker away" : records, brokerAway ? "away" : "");
  note("results", brokerAway ? "broker away" : "", brokerAway ? "away" : "");
  note("dead", brokerAway ? "broker away" : "", brokerAway ? "away" : "");
  note("execute", inFlight ? `${count(inFlight)} in flight` : "", inFlight ? "busy" : "");
  note("server", snapshot.away ? "away" : "", snapshot.away ? "away" : "");
};

narrow.addEventListener("change", draw);
draw();
