// Builds elements. What comes from outside is only ever text.

const SVG = "http://www.w3.org/2000/svg";
const number = new Intl.NumberFormat("en");

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null));
  return element;
};

export const byId = (id) => document.getElementById(id);
export const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
export const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
export const count = (value) => number.format(value);

// Sets a text only where it is another: whoever has selected it keeps the selection.
export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// Shows items as children of a list, keyed: what is there stays, and keeps its focus.
export const setItems = (list, items, keyOf, make, update = () => {}) => {
  const there = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let last = null;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = there.get(key);
    if (child) there.delete(key);
    else {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    const place = last ? last.nextSibling : list.firstChild;
    if (child !== place) list.insertBefore(child, place);
    last = child;
  }
  for (const child of there.values()) child.remove();
};

export const getJson = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};

export const postJson = async (path, body) => {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
};
