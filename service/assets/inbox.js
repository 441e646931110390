// The inbox: the last mails, and one of them. What is in a mail is shown in a frame that may do nothing.

import { byId, count, getJson, html, setItems, setText } from "./dom.js";

const AGAIN_AFTER_MS = 400;

const TITLES = { html: "The mail's HTML", text: "The mail's text", source: "The mail's source" };

let asked = 0;
let waiting = false;
let chosen = null;
let opened = 0;
let view = "html";

const line = (mail) => {
  const button = html("button", { type: "button" },
    html("span", { class: "to" }, mail.recipients.join(", ")),
    html("span", { class: "subject" }, mail.subject || "(no subject)"),
    mail.copy > 1 ? html("span", { class: "badge warn" }, `copy ${mail.copy}`) : null);
  button.addEventListener("click", () => open(mail.number));
  return html("li", {}, button);
};

const load = async () => {
  const mails = await getJson("/mails");
  byId("mails").classList.toggle("empty", mails.length === 0);
  setItems(byId("mails"), mails, (mail) => mail.number, line, (item, mail) => {
    item.firstChild.setAttribute("aria-pressed", String(mail.number === chosen));
  });
  if (chosen === null && mails.length > 0) open(mails[0].number);
};

const headersOf = (mail) => {
  const rows = [["Envelope from", mail.sender], ["Envelope to", mail.recipients.join(", ")], ...mail.headers];
  return html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Headers" },
    html("table", { class: "list" }, html("tbody", {},
      rows.map(([name, value]) => html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, value))))));
};

const frame = (number, what) =>
  html("iframe", { sandbox: "", referrerpolicy: "no-referrer", title: TITLES[what], src: `/mails/${number}/${what}` });

const filesOf = ({ number, files }) => files.length === 0 ? null :
  html("ul", { class: "files", "aria-label": "Files" }, files.map(({ name, content_type, bytes, inline }, index) =>
    html("li", {}, html("a", { href: `/mails/${number}/files/${index}`, download: name }, name),
      html("span", { class: "muted" }, `${content_type}, ${count(bytes)} bytes${inline ? ", in the HTML" : ""}`))));

// Opened once more before it is there, a mail is shown once; what has the focus keeps it.
const open = async (number) => {
  chosen = number;
  const turn = ++opened;
  for (const item of byId("mails").children) {
    item.firstChild.setAttribute("aria-pressed", String(item.dataset.key === String(number)));
  }
  const mail = await getJson(`/mails/${number}`);
  if (turn !== opened) return;
  const subject = mail.headers.find(([name]) => name.toLowerCase() === "subject")?.[1];
  const shown = view === "html" && !mail.html ? "text" : view;
  const tab = (name, label) => {
    const button = html("button", { type: "button", "aria-pressed": String(shown === name), "data-view": name }, label);
    button.addEventListener("click", () => {
      view = name;
      open(number);
    });
    return button;
  };
  const focused = byId("mail").contains(document.activeElement) ? document.activeElement.dataset.view : undefined;
  byId("mail").replaceChildren(
    html("p", { class: "of" }, `Mail ${number} to ${mail.recipients.join(", ")}`),
    html("div", { class: "tabs small", role: "group", "aria-label": "View" },
      mail.html ? tab("html", "HTML") : null, tab("text", "Text"), tab("headers", "Headers"), tab("source", "Source")),
    ...[filesOf(mail), shown === "headers" ? headersOf(mail) : frame(number, shown)].filter((part) => part !== null));
  byId("mail").querySelector(`[data-view="${focused}"]`)?.focus();
  byId("mail").dataset.subject = subject ?? "";
};

export const show = ({ mails, copies }) => {
  setText(byId("inbox-count"), `${count(mails)} ${mails === 1 ? "mail" : "mails"}${copies ? `, ${count(copies)} second copies` : ""}`);
  if (mails === asked || waiting) return;
  const before = asked;
  asked = mails;
  waiting = true;
  load().catch(() => { asked = before; }).finally(() => setTimeout(() => { waiting = false; }, AGAIN_AFTER_MS));
};
