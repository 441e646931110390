// The form and the switches.

import { byId, count, html, postJson, setItems } from "./dom.js";

const AT_ONCE = 500;

const hex = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// A job as the scheduler would send it.
const job = (fields) => {
  const now = new Date().toISOString();
  return JSON.stringify({
    Id: hex(12), Name: "from the page", ScheduleTime: now, CreatedAt: now, UpdatedAt: now, Status: 2, JobType: 0,
    JobData: {
      SourceAddress: "shop@example.com", DestinationAddress: fields.get("to"),
      Subject: fields.get("subject"), Message: fields.get("message"),
    },
  });
};

const submit = async (values) => {
  const said = byId("submitted");
  try {
    for (let i = 0; i < values.length; i += AT_ONCE) await postJson("/jobs", { values: values.slice(i, i + AT_ONCE) });
    said.textContent = `${count(values.length)} ${values.length === 1 ? "record" : "records"} submitted`;
  } catch (error) {
    said.textContent = `Not submitted: ${error.message}`;
  }
};

const form = byId("submit");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  submit(Array.from({ length: Number(fields.get("count")) }, () => job(fields)));
});
byId("submit-value").addEventListener("click", () => submit([new FormData(form).get("value")]));

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
