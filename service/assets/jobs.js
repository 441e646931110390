// The form and the switches.

import { byId, count, html, postJson, setItems } from "./dom.js";

const AT_ONCE = 500;
const AT_ONCE_BYTES = 3 << 20;
const SUBMITTED_BYTES = 64 << 20;
// In base64 and with the rest of its job it is to stay below the megabyte of a record.
const FILE_BYTES = 700_000;

const hex = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
  reader.addEventListener("error", () => reject(reader.error));
  reader.readAsDataURL(file);
});

// What a mail has beside its text, where the form has it.
const more = async (fields) => {
  const data = {};
  if (fields.get("html")) data.Html = fields.get("html");
  const file = fields.get("file");
  if (file.size > FILE_BYTES) throw new Error(`the file has ${count(file.size)} bytes, expected at most ${count(FILE_BYTES)}`);
  if (file.name) {
    const type = file.type || "application/octet-stream";
    data.Attachments = [{ Name: file.name, ContentType: type, Content: file.size ? await base64(file) : "" }];
  }
  return data;
};

// A job as the scheduler would send it.
const job = (fields, data) => {
  const now = new Date().toISOString();
  return JSON.stringify({
    Id: hex(12), Name: "from the page", ScheduleTime: now, CreatedAt: now, UpdatedAt: now, Status: 2, JobType: 0,
    JobData: {
      SourceAddress: "shop@example.com", DestinationAddress: fields.get("to"),
      Subject: fields.get("subject"), Message: fields.get("message"), ...data,
    },
  });
};

// `values` makes the records: all of them are about as long as the first.
const submit = async (values) => {
  const said = byId("submitted");
  try {
    values = await values();
    const bytes = values[0].length;
    if (values.length * bytes > SUBMITTED_BYTES) throw new Error(`${count(values.length)} jobs of ${count(bytes)} bytes, expected at most ${count(SUBMITTED_BYTES)} bytes in all`);
    const atOnce = Math.max(1, Math.min(AT_ONCE, Math.floor(AT_ONCE_BYTES / Math.max(1, bytes))));
    for (let i = 0; i < values.length; i += atOnce) await postJson("/jobs", { values: values.slice(i, i + atOnce) });
    said.textContent = `${count(values.length)} ${values.length === 1 ? "record" : "records"} submitted`;
  } catch (error) {
    said.textContent = `Not submitted: ${error.message}`;
  }
};

const form = byId("submit");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  submit(async () => {
    const data = await more(fields);
    return Array.from({ length: Number(fields.get("count")) }, () => job(fields, data));
  });
});
byId("submit-value").addEventListener("click", () => submit(() => [new FormData(form).get("value")]));

const row = ({ name, title, effect }) => {
  const button = html("button", { type: "button", role: "switch", "aria-checked": "false", "aria-describedby": `effect-${name}`, id: `switch-${name}` },
    html("span", { class: "knob", "aria-hidden": "true" }), html("span", {}, title));
  button.addEventListener("click", async () => {
    const on = button.getAttribute("aria-checked") !== "true";
    button.setAttribute("aria-busy", "true");
    try {
      await postJson(`/misfortunes/${name}`, { on });
      button.setAttribute("aria-checked", String(on));
    } catch (error) {
      byId("submitted").textContent = error.message;
    }
    button.removeAttribute("aria-busy");
  });
  return html("li", {}, button, html("p", { class: "muted", id: `effect-${name}` }, effect));
};

export const showSwitches = (switches) => {
  setItems(byId("switches"), switches, (it) => it.name, row, (item, it) => {
    const button = item.firstChild;
    if (!button.hasAttribute("aria-busy")) button.setAttribute("aria-checked", String(it.on));
  });
};
