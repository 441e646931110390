// Keeps a part of the page up to date. Without it, the page loads itself again.
"use strict";

const RELOAD_AFTER_MS = 5000;

const localise = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    time.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
};

const follow = (part) => {
  const events = new EventSource(part.dataset.events);
  events.addEventListener("update", (event) => {
    const focused = part.contains(document.activeElement) && document.activeElement;
    const selector = focused && (focused.getAttribute("href") ? `a[href="${focused.getAttribute("href")}"]` : "button");
    const fresh = document.createElement("div");
    fresh.innerHTML = event.data;
    localise(fresh);
    if (fresh.textContent.trim() === part.textContent.trim()) return;
    part.replaceChildren(...fresh.childNodes);
    if (selector) part.querySelector(selector)?.focus();
  });
  events.addEventListener("end", () => events.close());
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) {
      setTimeout(() => location.reload(), RELOAD_AFTER_MS);
    }
  });
  window.addEventListener("pagehide", () => events.close());
};

localise(document);
document.querySelectorAll("[data-events]").forEach(follow);
