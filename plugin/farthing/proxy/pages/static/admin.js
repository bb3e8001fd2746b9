// The admin's view: every department, every running session, and the journal of who gave and stopped what.

import { full, sessionColumns, sessionName, tierBars } from "./balance.js";
import { capSession, grantTo, stopSession } from "./dialogs.js";
import { $, age, amount, el, meter, plural, Table, text } from "./dom.js";

const opened = new Set();
let latest = null;

const departments = new Table($("departments"), [
  { name: "Department", heading: true, watch: (row) => `${row.kind} ${row.user_count}`, cell: (row) => (row.kind === "user" ? el("span", { className: "indent" }, row.name) : expander(row)) },
  { name: "Granted", number: true, cell: (row) => amount(row.granted, false) },
  { name: "Spent", number: true, cell: (row) => amount(row.settled, false) },
  { name: "Held", number: true, cell: (row) => amount(row.held, false) },
  { name: "Available", number: true, cell: (row) => (row.limited ? amount(row.available, false) : el("span", { className: "muted" }, "no limit")) },
  { name: "Month", cell: (row) => thisMonth(row) },
  {
    name: "Act",
    watch: (row) => String(row.limited),
    cell: (row) => (row.limited ? button("Grant", `Grant credits to ${row.kind} ${row.name}`, () => grantTo(row)) : ""),
  },
], { key: (row) => `${row.kind}:${row.name}` });

function thisMonth(row) {
  if (row.monthly === null) return el("span", { className: "muted" }, "no allowance");
  if (!row.period) return `${amount(row.monthly)} a month`;
  const spent = Number(row.period.spent);
  const whole = spent + Number(row.balance);
  return meter(whole ? spent / whole : 0, `${amount(row.period.spent)} of ${amount(whole.toFixed(3))}`, full(whole ? spent / whole : 0));
}

function expander(row) {
  const unseen = row.user_count > row.users.length ? `, ${row.users.length} shown` : "";
  const toggle = button("", "", () => {
    if (!opened.delete(row.name)) opened.add(row.name);
    toggle.setAttribute("aria-expanded", String(opened.has(row.name)));
    showDepartments();
  });
  toggle.className = "expander";
  toggle.setAttribute("aria-expanded", String(opened.has(row.name)));
  toggle.replaceChildren(row.name, el("small", {}, plural(row.user_count, "user") + unseen));
  return toggle;
}

function showDepartments() {
  departments.show(latest.departments.flatMap((row) => [row, ...(opened.has(row.name) ? row.users : [])]));
}

const sessions = new Table($("all-sessions"), [
  sessionName,
  { name: "User", cell: (s) => el("span", {}, s.user, el("span", { className: "muted" }, ` ${s.department}`)), watch: (s) => s.user },
  ...sessionColumns,
  {
    name: "Act",
    watch: (s) => String(Boolean(s.stopped_by)),
    cell: (s) => el("span", { className: "acts" },
      button(s.stopped_by ? "Resume" : "Cap", `Set the caps of session ${s.id.slice(0, 8)}`, () => capSession(current(s))),
      s.stopped_by ? "" : button("Stop", `Stop session ${s.id.slice(0, 8)}`, () => stopSession(current(s)), "danger")),
  },
], { key: (s) => s.id });

const current = (session) => latest.sessions.find(({ id }) => id === session.id) ?? session;

const ACTS = {
  grant: "granted", adjust: "adjusted", expire: "expired", opening: "opened a limit", cap: "capped", stop: "stopped", resume: "resumed",
};

const journal = new Table($("journal"), [
  { name: "When", heading: true, cell: (act) => age(act.at), watch: (act) => act.at },
  { name: "Who", cell: (act) => act.actor },
  { name: "What", cell: (act) => ACTS[act.action] ?? act.action },
  { name: "For", cell: (act) => el("span", {}, el("span", { className: "muted" }, `${act.kind} `), act.kind === "session" ? act.name.slice(0, 8) : act.name) },
  { name: "How much", number: true, cell: (act) => howMuch(act) },
  { name: "Reason", cell: (act) => act.reason || el("span", { className: "muted" }, "–") },
], { key: (_, place) => place });

function howMuch(act) {
  if (act.action === "stop" || act.action === "resume") return "–";
  if (act.steps !== null) return plural(act.steps, "step");
  if (act.credits === null) return act.ref === "steps: none" ? "any steps" : "any cost";
  return amount(act.credits);
}

function button(label, name, act, style = "") {
  const node = el("button", { type: "button", className: style }, label);
  if (name) node.setAttribute("aria-label", name);
  node.addEventListener("click", act);
  return node;
}

export function showOverview(data) {
  latest = data;
  const { organisation } = data;
  text($("organisation-title"), organisation.name);
  $("grant-organisation").hidden = !organisation.limited;
  const tiles = [
    ["Available", organisation.limited ? amount(organisation.available) : "no limit"],
    ["Spent", amount(organisation.settled)],
    ["Held", amount(organisation.held)],
    ["Monthly budget", organisation.monthly === null ? "none" : amount(organisation.monthly)],
  ];
  $("organisation").replaceChildren(...tiles.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  tierBars($("organisation-today"), organisation.today);
  showDepartments();
  sessions.show(data.sessions);
  journal.show(data.journal);
}

$("grant-organisation").addEventListener("click", () => grantTo(latest.organisation));
