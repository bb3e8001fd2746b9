// A person's own view: what is left, where it went, what runs.

import { BalanceChart } from "./chart.js";
import { Count } from "./count.js";
import { $, age, amount, el, meter, plural, Table, text, tier } from "./dom.js";

const count = new Count();
const chart = new BalanceChart();

const KINDS = { grading: "grading", summary: "summary", failed_attempt: "failed attempt" };

/** How a session stands: its steps and cost against its caps. Both views have it. */
export const sessionColumns = [
  { name: "Steps", cell: (s) => s.max_steps === null ? plural(s.steps, "step") : meter(s.steps / s.max_steps, `${s.steps} of ${plural(s.max_steps, "step")}`, full(s.steps / s.max_steps)) },
  { name: "Cost", cell: (s) => sessionCost(s) },
  { name: "Began", cell: (s) => age(s.started), watch: (s) => s.started },
  { name: "Last call", cell: (s) => age(s.last), watch: (s) => s.last },
  { name: "State", cell: (s) => sessionState(s) },
];

export const sessionName = { name: "Session", heading: true, watch: (s) => s.id, cell: (s) => el("code", { title: s.id }, s.id.slice(0, 8)) };

/** How a bar is marked that is nearly full. */
export const full = (share) => (share >= 0.95 ? "full" : share >= 0.8 ? "high" : "");

function sessionState(session) {
  const atSteps = session.max_steps !== null && session.steps >= session.max_steps;
  const atCost = session.max_credits !== null && Number(session.credits) >= Number(session.max_credits);
  const [state, words] = session.stopped_by ? ["stopped", `stopped by ${session.stopped_by}`]
    : atSteps ? ["capped", "out of steps"]
    : atCost ? ["capped", "at its cost cap"]
    : ["running", "running"];
  return el("span", { className: "pill", data: { state } }, words);
}

function sessionCost(session) {
  const spent = Number(session.credits);
  const held = Number(session.held) ? ` + ${amount(session.held)} held` : "";
  if (session.max_credits === null) return `${amount(session.credits, false)}${held}`;
  const share = spent / Number(session.max_credits);
  return meter(share, `${amount(session.credits)}${held} of ${amount(session.max_credits)}`, full(share));
}

const sessions = new Table($("sessions"), [sessionName, ...sessionColumns], { key: (s) => s.id });

const calls = new Table($("calls"), [
  { name: "Task", heading: true, cell: (c) => el("span", {}, grade(c.grade), KINDS[c.kind] ? el("span", { className: "muted" }, ` ${KINDS[c.kind]}`) : "") },
  { name: "Tier", cell: (c) => tier(c.tier) },
  { name: "Model", cell: (c) => el("span", { className: "model" }, c.model || "unknown") },
  { name: "Credits", number: true, cell: (c) => el("span", { title: `${c.usd} USD` }, amount(c.credits, false), Number(c.overdraft) ? el("span", { className: "warn" }, ` (${amount(c.overdraft)} overdrawn)`) : "") },
  { name: "When", cell: (c) => age(c.at), watch: (c) => c.at },
], { key: (c) => c.id });

const grade = (name) => (name ? el("span", { className: "grade", data: { grade: name } }, name) : el("span", { className: "muted" }, "ungraded"));

/** Bars of spending by tier; the longest is the dearest. */
export function tierBars(list, today) {
  const most = Math.max(...today.map((line) => Number(line.credits)), 0);
  const bars = today.map((line) => {
    const bar = el("span", { className: "fill", data: { tier: line.tier } });
    bar.style.width = `${most ? (Number(line.credits) / most) * 100 : 0}%`;
    return el("li", {},
      tier(line.tier),
      el("span", { className: "track", "aria-hidden": "true" }, bar),
      el("span", { className: "number" }, amount(line.credits, false)),
      el("small", {}, plural(line.calls, "call")));
  });
  list.replaceChildren(...(bars.length ? bars : [el("li", { className: "muted" }, "Nothing yet today.")]));
}

export function showBalance(data) {
  count.show(data.balance);
  chart.add(data.balance, data.available);
  document.title = `${amount(data.balance)} credits · Farthing`;
  text($("who"), `${data.user} · ${data.department}`);
  text($("worth"), `worth ${(Number(data.balance) * Number(data.usd_per_credit)).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 })} USD`);
  text($("spendable"), amount(data.spendable));
  const limited = data.short && Number(data.spendable) < Number(data.available);
  notice($("short"), limited && `You have more, but ${called(data.short)} has only ${amount(data.spendable)} left.`);
  notice($("overdraft"), Number(data.overdraft) > 0 && `${amount(data.overdraft)} credits were spent beyond what was held for their calls.`);
  showAllowance(data);
  text($("today-total"), amount(data.spent_today));
  tierBars($("today"), data.today);
  showLimits(data.accounts);
  sessions.show(data.sessions);
  calls.show(data.recent);
}

function showAllowance(data) {
  const { month, spent } = data.period;
  const parts = { spent: Number(spent), held: Number(data.held), left: Math.max(0, Number(data.available)) };
  const whole = parts.spent + parts.held + parts.left;
  const used = whole ? parts.spent / whole : 0;
  text($("allowance-title"), month ? `Allowance of ${monthName(month)}` : "All credits granted");
  for (const [name, value] of Object.entries(parts)) {
    $("allowance").querySelector(`.${name}`).style.width = `${whole ? (value / whole) * 100 : 0}%`;
    text($(name), amount(value.toFixed(3)));
  }
  $("allowance").dataset.state = full(used);
  const marks = data.thresholds.map((mark) => {
    const node = el("span", { data: { reached: used * 100 >= mark } }, `${mark} %`);
    node.style.left = `${mark}%`;
    return node;
  });
  $("marks").replaceChildren(...marks);
}

function showLimits(accounts) {
  const rows = accounts.flatMap((account) => {
    const left = account.limited ? `${amount(account.available)} available` : "no limit";
    const monthly = account.monthly === null ? "" : el("small", { className: "muted" }, `${amount(account.monthly)} a month`);
    return [el("dt", {}, el("span", { className: "muted" }, account.kind), ` ${account.name}`), el("dd", {}, left, monthly)];
  });
  $("limits").replaceChildren(...rows);
}

const called = ({ kind, name }) => (kind === "organisation" ? "the organisation" : `the ${kind} ${name}`);
const monthName = (month) => new Date(`${month}-01T12:00:00`).toLocaleDateString("en-GB", { month: "long", year: "numeric" });

function notice(node, message) {
  node.hidden = !message;
  text(node, message || "");
}

export function resetBalance() {
  count.reset();
  chart.reset();
  document.title = "Farthing";
}

export const recolour = () => chart.recolour();
