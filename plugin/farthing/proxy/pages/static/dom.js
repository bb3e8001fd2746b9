// Elements and texts. Everything from the server goes through textContent: it is shown, never run.

export const $ = (id) => document.getElementById(id);

/** Make an element: properties, then children (elements or text). */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(node.dataset, value);
    else if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** Decimal text with grouped thousands; `trim` drops decimals that say nothing. */
export function amount(value, trim = true) {
  const [, sign, whole, fraction = ""] = /^(-?)(\d+)\.?(\d*)$/.exec(value);
  const decimals = trim ? fraction.replace(/0+$/, "") : fraction;
  return (sign ? "−" : "") + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (decimals && `.${decimals}`);
}

export const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

/** How long ago, for people: "just now", "42 s ago", "5 min ago". */
export function ago(iso, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(iso).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

export function age(iso) {
  const full = new Date(iso).toLocaleString("en-GB");
  return el("time", { dateTime: iso, title: full, className: "age" }, ago(iso));
}

/** Let the ages on the page grow. */
export function keepAges() {
  setInterval(() => {
    for (const node of document.querySelectorAll("time.age")) text(node, ago(node.dateTime));
  }, 1000);
}

export const tier = (name) => el("span", { className: "tier", data: { tier: name } }, name || "other");

/** A bar that is `share` (0 to 1) full, beside a text that says the same. */
export function meter(share, label, state = "") {
  const fill = el("span", { className: "fill" });
  fill.style.width = `${Math.min(1, Math.max(0, share)) * 100}%`;
  return el("span", { className: "meter", data: { state } }, el("span", {}, label), el("span", { className: "track", "aria-hidden": "true" }, fill));
}

/**
 * A table whose rows are kept, by key, when the data changes: the focus stays.
 * Columns: {name, cell(row) → text or element, number, heading}. Roles are named since phones stack the cells.
 */
export class Table {
  #rows = new Map();

  constructor(table, columns, { key }) {
    Object.assign(this, { table, columns, key });
    const heads = columns.map(({ name, number }) =>
      el("th", { scope: "col", role: "columnheader", className: number ? "number" : "" }, name === "Act" ? el("span", { className: "unseen" }, "Actions") : name));
    this.body = el("tbody", { role: "rowgroup" });
    table.setAttribute("role", "table");
    table.replaceChildren(el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
  }

  show(data) {
    const wanted = data.map((row, place) => this.#row(row, place));
    const rows = wanted.map(({ node }) => node);
    const live = new Set(wanted.map(({ id }) => id));
    for (const id of this.#rows.keys()) if (!live.has(id)) this.#rows.delete(id);
    if (rows.length !== this.body.children.length || rows.some((node, i) => node !== this.body.children[i]))
      this.body.replaceChildren(...rows);
    this.table.hidden = !data.length;
    const empty = this.table.parentElement.querySelector(":scope > .empty");
    if (empty) empty.hidden = Boolean(data.length);
  }

  #row(row, place) {
    const id = this.key(row, place);
    let kept = this.#rows.get(id);
    if (!kept) {
      const cells = this.columns.map(({ name, number, heading }) =>
        el(heading ? "th" : "td", {
          role: heading ? "rowheader" : "cell",
          className: [number && "number", name === "Act" && "acts"].filter(Boolean).join(" "),
          data: { label: name === "Act" ? "" : name },
          ...(heading && { scope: "row" }),
        }));
      kept = { id, node: el("tr", { role: "row" }, ...cells), cells, seen: [] };
      this.#rows.set(id, kept);
    }
    this.columns.forEach(({ cell, watch = (row) => JSON.stringify(row) }, i) => {
      const seen = watch(row);
      if (kept.seen[i] === seen) return;
      kept.seen[i] = seen;
      const focused = kept.cells[i].contains(document.activeElement);
      kept.cells[i].replaceChildren(cell(row));
      if (focused) kept.cells[i].querySelector("button")?.focus();
    });
    return kept;
  }
}
