// Shows what the server tells, as it tells it.

import { byId, count, html, setItems, setText } from "./dom.js";
import * as inbox from "./inbox.js";
import { showSwitches } from "./jobs.js";
import * as picture from "./picture.js";
import * as records from "./records.js";

const AGAIN_AFTER_MS = 2000;

const VERDICTS = {
  balanced: "Everything adds up",
  "under-way": "Under way",
  broken: "It does not add up",
};
const FATES = {
  succeeded: "sent", rejected: "rejected", exhausted: "no attempt succeeded", ambiguous: "ambiguous",
  skipped: "skipped", "dead-letter": "dead letter",
};

const showVerdict = ({ verdict, open, waiting, records: all }) => {
  const pill = byId("verdict");
  const unfinished = open + waiting;
  pill.dataset.verdict = verdict;
  // Beside what is announced: a number that changes ten times a second is not to be read aloud.
  setText(byId("unfinished"), unfinished ? `${count(unfinished)} of ${count(all + waiting)}` : "");
  setText(pill, VERDICTS[verdict]);
};

const showAccount = (account) => {
  const failed = account.rejected + account.exhausted + account.ambiguous;
  const rows = [
    ["Records in", account.records, "sum"],
    ["sent", account.accepted, "part good"],
    ["sent before: duplicates", account.duplicates, "part"],
    ["failed, with a result", failed, "part bad"],
    ["of these ambiguous", account.ambiguous, "part deep"],
    ["dead letters", account.dead_letters, "part warn"],
    ["skipped", account.skipped, "part"],
    ["under way", account.open, "part busy"],
    ["Mails in the inbox", account.mails, "sum"],
    ["second copies", account.copies, "part"],
    ["resends, counted", account.resent, "part"],
  ];
  if (account.waiting) rows.unshift(["Submitted, wait for the broker", account.waiting, "sum busy"]);
  setItems(byId("account").tBodies[0], rows, ([name]) => name,
    ([name, , kind]) => html("tr", { class: kind }, html("th", { scope: "row" }, name), html("td", { class: "number" })),
    (row, [, value]) => {
      setText(row.lastChild, count(value));
      row.classList.toggle("zero", value === 0);
    });
};

const showMembers = (members) => {
  setItems(byId("members"), members, (it) => it.number,
    () => html("li", {}, html("span", { class: "state" }), html("span", { class: "muted" })),
    (item, it) => {
      item.dataset.state = it.state;
      setText(item.firstChild, `Member ${it.number}: ${it.state}`);
      setText(item.lastChild, it.partitions.length ? `partitions ${it.partitions.join(", ")}` : "no partition");
    });
};

const showContent = async (number) => {
  const answer = await fetch(`/fates/${number}`);
  setText(byId("content-title"), `Record ${number}`);
  setText(byId("content-text"), answer.ok ? await answer.text() : "It is not kept any more.");
  byId("content").showModal();
};

const fate = (it, hasContent) => {
  const where = html("td", { class: "number where", title: it.topic }, `${it.partition}:${it.offset}`);
  const id = html("td", { class: "id" }, it.id ?? "no Id");
  const name = html("td", {}, html("span", { class: `fate ${it.fate}` }, FATES[it.fate]), it.reason ? ` ${it.reason}` : "");
  const row = html("tr", {}, name, id, where);
  if (hasContent) {
    const button = html("button", { type: "button", "aria-label": `What is in record ${it.number}` }, "Show");
    button.addEventListener("click", () => showContent(it.number));
    row.append(html("td", { class: "number" }, button));
  }
  return row;
};

const showLast = (id, { count: all, last }, hasContent) => {
  setText(byId(`${id}-count`), count(all));
  byId(id).closest("table").hidden = all === 0;
  setItems(byId(id), last, (it) => it.number, (it) => fate(it, hasContent));
};

const showStandings = (partitions) => {
  const row = () => html("tr", {}, html("th", { scope: "row" }), ...["", "", "service", ""].map((of) => html("td", { class: "number", "data-service": of === "service" })));
  setItems(byId("standings"), partitions, (it) => `${it.topic} ${it.partition}`, row, (element, it) => {
    const texts = [
      `${it.topic} ${it.partition}`, count(it.in_flight), it.frontier === null ? "" : count(it.frontier),
      it.lag === null ? "" : count(it.lag), it.age_seconds ? `${count(it.age_seconds)} s` : "",
    ];
    texts.forEach((text, index) => setText(element.children[index], text));
  });
};

const showPanels = (panels) => {
  const card = ({ title }) => html("section", { class: "card" },
    html("div", { class: "title" }, html("h2", {}, title)), html("table", { class: "account" }, html("tbody", {})));
  const row = ([name]) => html("tr", { class: "part" }, html("th", { scope: "row" }, name), html("td", { class: "number" }));
  setItems(byId("panels"), panels, ({ title }) => title, card, (element, { rows }) =>
    setItems(element.querySelector("tbody"), rows, ([name]) => name, row, (line, [, value]) => setText(line.lastChild, value)));
};

const show = (snapshot) => {
  const { play } = snapshot;
  document.title = `${snapshot.topology.service}, live`;
  setText(byId("service"), snapshot.topology.service);
  document.body.classList.toggle("demo", play !== null);
  for (const part of document.querySelectorAll("[data-demo]")) part.hidden = play === null;
  picture.show(snapshot);
  const inFlight = snapshot.partitions.reduce((sum, it) => sum + it.in_flight, 0);
  const away = snapshot.servers.filter((server) => server.away);
  const partly = away.map(({ name, away }) => `; ${name} is away: ${away}`).join("");
  setText(byId("in-flight"), snapshot.away ? `The ${snapshot.topology.server} is away: ${snapshot.away}` : `${count(inFlight)} in flight${partly}`);
  showStandings(snapshot.partitions);
  showLast("fates", snapshot.fates, snapshot.shows_content);
  showLast("dead", snapshot.dead_letters, false);
  showLast("ambiguous", snapshot.ambiguous, false);
  showPanels(snapshot.panels);
  if (play === null) return;
  showVerdict(play.account);
  showAccount(play.account);
  showMembers(play.members);
  showSwitches(play.switches);
  const { account } = play;
  records.show(play.topics, {
    [snapshot.topics.jobs]: account.records,
    [snapshot.topics.results]: account.accepted + account.duplicates + account.rejected + account.exhausted + account.ambiguous,
    [snapshot.topics.dead_letters]: account.dead_letters,
  });
  inbox.show(play.account);
};

const connection = (state) => {
  byId("connection").dataset.state = state;
  setText(byId("connection"), state);
};

const follow = () => {
  const events = new EventSource("/events");
  events.addEventListener("open", () => connection("live"));
  events.addEventListener("message", (event) => show(JSON.parse(event.data)));
  events.addEventListener("error", () => {
    connection("not connected");
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, AGAIN_AFTER_MS);
  });
  window.addEventListener("pagehide", () => events.close());
};

follow();
