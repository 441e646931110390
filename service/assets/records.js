// The topics: their partitions, and the last records of one.

import { byId, count, getJson, html, setItems, setText } from "./dom.js";

const AGAIN_AFTER_MS = 400;

let topic = null;
let partition = null;
let asked = null;
let waiting = false;

const time = (timestamp) => (timestamp === null ? "" : new Date(timestamp).toLocaleTimeString());

const pretty = (value) => {
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
};

const record = (it) => {
  const headers = it.headers.map(([name, value]) => [html("dt", {}, name), html("dd", {}, value ?? "null")]);
  return html("details", {},
    html("summary", {},
      html("span", { class: "offset" }, String(it.offset)),
      html("span", { class: "key" }, it.key ?? "no key"),
      html("span", { class: "beginning" }, it.value ?? "no value"),
      html("span", { class: "muted" }, time(it.timestamp))),
    it.headers.length ? html("dl", { class: "headers" }, headers) : null,
    html("pre", {}, it.value === null ? "no value" : pretty(it.value)),
    it.value !== null && it.value_bytes > it.value.length && it.value_bytes > 16384
      ? html("p", { class: "muted" }, `the first 16 KiB of ${count(it.value_bytes)} bytes`) : null);
};

const load = async () => {
  const wanted = `${topic}/${partition}`;
  try {
    const records = await getJson(`/topics/${encodeURIComponent(topic)}/${partition}`);
    if (wanted !== `${topic}/${partition}`) return;
    const list = byId("records");
    if (list.dataset.of !== wanted) list.replaceChildren();
    list.dataset.of = wanted;
    list.classList.toggle("empty", records.length === 0);
    setItems(list, records, (it) => it.offset, record);
  } catch {
    asked = null;
  }
};

// Asks again when the partition has grown, and not more often than one can read.
const keepUp = (end) => {
  const now = `${topic}/${partition}/${end}`;
  if (asked === now || waiting) return;
  asked = now;
  waiting = true;
  load().finally(() => setTimeout(() => { waiting = false; }, AGAIN_AFTER_MS));
};

const choice = (label, pick) => {
  const button = html("button", { type: "button" }, label, html("span", { class: "badge" }));
  button.addEventListener("click", pick);
  return button;
};

const mark = (button, isChosen, many) => {
  button.setAttribute("aria-pressed", String(isChosen));
  const badge = button.querySelector(".badge");
  badge.hidden = many === null;
  if (many !== null) setText(badge, count(many));
};

let last = null;
// `sizes` says how many records a topic has had, where that is known: offsets count the markers of
// transactions, too.
export const show = (topics, sizes) => {
  last = [topics, sizes];
  topic ??= topics[0].name;
  setItems(byId("topics"), topics, (it) => it.name,
    (it) => choice(it.name, () => { topic = it.name; partition = null; waiting = false; show(...last); }),
    (button, it) => mark(button, it.name === topic, sizes[it.name] ?? null));
  const chosen = topics.find((it) => it.name === topic);
  if (partition === null) {
    const fullest = chosen.partitions.reduce((best, it, index) => (it.end - it.start > chosen.partitions[best].end - chosen.partitions[best].start ? index : best), 0);
    partition = fullest;
  }
  const partitions = chosen.partitions.map((it, index) => ({ ...it, index }));
  setItems(byId("partitions"), partitions, (it) => it.index,
    (it) => choice(`${it.index}`, () => { partition = it.index; waiting = false; show(...last); }),
    (button, it) => {
      mark(button, it.index === partition, it.end);
      button.setAttribute("aria-label", `Partition ${it.index}`);
      button.title = `offsets ${it.start} to ${it.end}, markers of transactions included`;
    });
  keepUp(chosen.partitions[partition].end);
};
