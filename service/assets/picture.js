// The topology as a picture, with records that move through it.

import { byId, count, setText, svg } from "./dom.js";

// A row of boxes on a wide screen, a column on a narrow one; what hangs below or beside a stage is its own.
const WIDE = { step: 190, begin: 82, middle: 170, below: 288, above: 48, halfWidth: 66, halfHeight: 30 };
const TALL = { step: 126, begin: 36, middle: 150, beside: 322, halfWidth: 62, halfHeight: 27 };

// The boxes and the ways between them, from the topology's own stages.
const plan = ({ stages, server }) => {
  const way = ["jobs", ...stages.map((_, index) => `stage-${index}`), "results"];
  const node = (name, kind, title) => ({ name, kind, title });
  const nodes = [node("jobs", "topic", "jobs"), ...stages.map(({ name }, index) => node(way[index + 1], "stage", name)),
    node("results", "topic", "results"), node("dead", "topic", "dead letters")];
  const edges = way.slice(1).map((to, index) => ({ name: `to-${to}`, from: way[index], to }));
  const aside = [{ name: "dead", of: "stage-0" }];
  stages.forEach(({ kind }, index) => {
    const of = `stage-${index}`;
    if (kind === "filter") {
      nodes.push(node(`skipped-${index}`, "end", "skipped"));
      aside.push({ name: `skipped-${index}`, of });
    }
    if (kind === "execute") {
      nodes.push(node("server", "end", server));
      aside.push({ name: "server", of, above: true });
    }
  });
  for (const { name, of } of aside) edges.push({ name: name === "server" ? "mails" : name, from: of, to: name });
  return { way, nodes, edges, aside, executes: stages.findIndex(({ kind }) => kind === "execute") + 1 };
};

// Where each box is.
const place = ({ way, aside, executes }) => {
  const shape = narrow.matches ? TALL : WIDE;
  const at = {};
  way.forEach((name, index) => {
    const along = shape.begin + index * shape.step;
    at[name] = narrow.matches ? [shape.middle, along] : [along, shape.middle];
  });
  for (const { name, of, above } of aside) {
    const [x, y] = at[of];
    at[name] = narrow.matches ? [shape.beside, y] : [x, above ? shape.above : shape.below];
  }
  const end = shape.begin + (way.length - 1) * shape.step;
  const [x, y] = at[way[executes]] ?? at[way[1]];
  if (narrow.matches) {
    return { ...shape, at, width: 390, height: end + 40,
      retry: { path: `M ${x + 30} ${y + 27} C ${x + 46} ${y + 92}, ${x + 134} ${y + 86}, ${x + 69} ${y + 10}`, label: [x + 106, y + 72] },
      commit: { path: `M 88 ${end} L 44 ${end} Q 28 ${end} 28 ${end - 16} L 28 52 Q 28 36 44 36 L 88 36`, label: [28, end / 2] } };
  }
  return { ...shape, at, width: end + 82, height: 352,
    retry: { path: `M ${x - 30} 200 C ${x - 50} 284, ${x + 50} 284, ${x + 31} 207`, label: [x, 264] },
    commit: { path: `M ${end} 200 L ${end} 322 Q ${end} 338 ${end - 16} 338 L 98 338 Q 82 338 82 322 L 82 200`, label: [end - 180, 338] } };
};

const DOTS_A_FRAME = 5;
const DOTS_MAX = 90;
const DOT_MS = 900;

const narrow = window.matchMedia("(max-width: 700px)");
const still = window.matchMedia("(prefers-reduced-motion: reduce)");

let planned = null;
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
  if (planned === null) return;
  layout = place(planned);
  edges = {}; notes = {}; boxes = {}; moving = [];
  const arrow = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    svg("path", { class: "arrow", d: "M 0 0 L 8 4 L 0 8 Z" }));
  const drawn = planned.edges.map(({ name, from, to }) => drawEdge(name, line(layout.at[from], layout.at[to])));
  drawn.push(drawEdge("retried", layout.retry), drawEdge("commits", layout.commit));
  const ways = drawn.map(([way]) => way);
  const labels = drawn.map(([, label]) => label);
  const nodes = planned.nodes.map(({ name, kind, title }) => {
    const [middle, y] = layout.at[name];
    // The cap of a topic takes a part of its right.
    const x = kind === "topic" ? middle - 5 : middle;
    notes[name] = svg("text", { class: "note", x, y: y + 15, "text-anchor": "middle" });
    boxes[name] = svg("g", { class: `node ${kind}`, "data-node": name }, shape(kind, [middle, y]),
      svg("text", { class: "name", x, y: y - 1, "text-anchor": "middle" }, title), notes[name]);
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

// How many records have come to each box of the way.
const arrivals = ({ counts, stages }) => {
  let left = counts.fetched;
  const all = [left];
  stages.forEach(({ name, kind }, index) => {
    if (index === 0) left -= counts.dead_lettered;
    if (kind === "filter") left -= counts.skipped_by[name] ?? 0;
    if (kind === "execute") left = counts.results;
    all.push(left);
  });
  return all;
};

export const show = (snapshot) => {
  const { counts, play, topology } = snapshot;
  const isNews = JSON.stringify(shown?.topology) !== JSON.stringify(topology);
  shown = snapshot;
  if (isNews) {
    planned = plan(topology);
    draw();
    return;
  }
  const inFlight = snapshot.partitions.reduce((sum, partition) => sum + partition.in_flight, 0);
  const lags = snapshot.partitions.map((partition) => partition.lag).filter((lag) => lag !== null);
  const brokerAway = play?.switches.some(({ name, on }) => on && name === "broker-away");
  const come = arrivals({ counts, stages: topology.stages });
  planned.way.slice(1, -1).forEach((name, index) => setCount(`to-${name}`, come[index]));
  setCount("to-results", play ? play.account.accepted + play.account.duplicates + play.account.rejected + play.account.exhausted + play.account.ambiguous : counts.results);
  setCount("dead", play ? play.account.dead_letters : counts.dead_letters);
  topology.stages.forEach(({ name, kind }, index) => {
    if (kind === "filter") setCount(`skipped-${index}`, counts.skipped_by[name] ?? 0);
  });
  if (edges.mails) setCount("mails", play ? play.account.mails : counts.executed);
  setCount("retried", counts.retried);
  setCount("commits", counts.commits);
  const lag = lags.reduce((sum, it) => sum + it, 0);
  const records = play ? `${count(play.account.records)} records` : lags.length ? `lag ${count(lag)}` : "";
  note("jobs", brokerAway ? "broker away" : records, brokerAway ? "away" : "");
  note("results", brokerAway ? "broker away" : "", brokerAway ? "away" : "");
  note("dead", brokerAway ? "broker away" : "", brokerAway ? "away" : "");
  const executes = planned.way[planned.executes];
  if (planned.executes > 0) note(executes, inFlight ? `${count(inFlight)} in flight` : "", inFlight ? "busy" : "");
  const away = snapshot.servers.filter((server) => server.away).length;
  const partly = away ? `${away} of ${snapshot.servers.length} away` : "";
  if (notes.server) note("server", snapshot.away ? "away" : partly, snapshot.away ? "away" : "");
};

narrow.addEventListener("change", draw);
