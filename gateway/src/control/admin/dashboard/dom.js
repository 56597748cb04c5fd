// Elements, made from data. Text becomes text nodes and nothing else: what a configuration, a plugin or an upstream is called is
// never read as markup, nor does it hide characters or take more room than the rest.

/** An element with attributes, listeners (`onclick`) and children: elements, text or numbers. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false || value === null) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  const given = children.flat().filter((child) => child !== undefined && child !== null);
  made.append(...given.map((child) => (child instanceof Node ? child : visible(String(child)))));
  return made;
}

/** Text with what nobody would see written out: control characters, and those that turn the order of others around (Unicode UAX 9). */
export function visible(text) {
  const shown = text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN)} … (${text.length} characters)` : text;
  return shown.replace(HIDDEN, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

const HIDDEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
/** A diagnosis is shown whole; of what is longer, the log has the rest. */
const TEXT_SHOWN = 8000;

/** A table: `columns` are `[title, cell of a row, class]`; `attributes` are those of a row. */
export function table(columns, rows, { empty, attributes = () => ({}) }) {
  if (rows.length === 0) return element("p", { class: "empty" }, empty);
  const head = columns.map(([title, , kind]) => element("th", { scope: "col", class: kind }, title));
  const line = (row) =>
    element("tr", attributes(row), columns.map(([, cell, kind]) => element("td", { class: kind }, cell(row))));
  return element("table", {}, element("thead", {}, element("tr", {}, head)), element("tbody", {}, rows.map(line)));
}

/** A line over numbers, the newest on the right. */
export function sparkline(values, title) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("class", "spark");
  picture.setAttribute("viewBox", "0 0 96 22");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", title);
  const line = document.createElementNS(space, "path");
  const most = Math.max(...values, 1e-9);
  const step = 96 / Math.max(values.length - 1, 1);
  const points = values.map((value, at) => `${(at * step).toFixed(1)} ${(20 - (value / most) * 18).toFixed(1)}`);
  line.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
  picture.append(line);
  return picture;
}

/** Puts `content` in the place of all that an element holds; what has the focus keeps it, found again by its `data-key`. */
export function show(id, ...content) {
  const place = document.getElementById(id);
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...content);
  if (focused !== undefined) {
    [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused)?.focus();
  }
}
