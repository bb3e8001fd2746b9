// What an admin can do. Each dialog asks for a reason; what was refused stays open with why.

import { call } from "./api.js";
import { $, amount, el, text } from "./dom.js";

let submit = null;

/** Ask `fields` ({id, label, hint, ...properties of the input}) and do `act(values)` on submit. */
function ask({ title, message, fields, action, danger, act, done }) {
  text($("dialog-title"), title);
  text($("dialog-text"), message);
  text($("dialog-do"), action);
  text($("dialog-error"), "");
  $("dialog-do").classList.toggle("danger", Boolean(danger));
  $("dialog-fields").replaceChildren(...fields.map(field));
  submit = async () => {
    const values = Object.fromEntries(fields.map(({ id }) => [id, $(id).value.trim()]));
    text($("dialog-error"), "");
    $("dialog-do").disabled = true;
    try {
      await act(values);
      $("dialog").close();
      toast(done(values));
    } catch (error) {
      text($("dialog-error"), error.message);
    } finally {
      $("dialog-do").disabled = false;
    }
  };
  $("dialog").showModal();
}

function field({ id, label, hint, ...properties }) {
  const input = el("input", { id, autocomplete: "off", ...properties });
  const note = hint ? el("small", { id: `${id}-hint`, className: "muted" }, hint) : "";
  if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
  return el("p", { className: "labelled" }, el("label", { htmlFor: id }, label), input, note);
}

const REASON = { id: "reason", label: "Reason", hint: "Kept in the journal, with your name.", required: true, maxLength: 300 };
const AMOUNT = { inputMode: "decimal", pattern: "[0-9]{1,18}(\\.[0-9]{1,9})?", title: "a number such as 250 or 12.5" };

export function grantTo(account) {
  const target = account.kind === "organisation" ? "organisation" : `${account.kind}:${account.name}`;
  const id = crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  ask({
    title: `Grant credits to ${account.name}`,
    message: `The ${account.kind} has ${amount(account.available)} credits available.`,
    fields: [
      { id: "credits", label: "Credits", required: true, ...AMOUNT },
      { id: "expires", label: "Last day they can be spent", hint: "Empty: they do not expire.", type: "date" },
      REASON,
    ],
    action: "Grant",
    act: ({ credits, expires, reason }) => call("admin/grants", { body: { id, account: target, credits, expires: expires || null, reason } }),
    done: ({ credits }) => `${amount(credits)} credits granted to ${account.name}.`,
  });
}

export function capSession(session) {
  ask({
    title: `Caps of session ${session.id.slice(0, 8)}`,
    message: `${session.user} has taken ${session.steps} steps for ${amount(session.credits)} credits. ${session.stopped_by ? "Setting the caps lets it go on." : ""}`,
    fields: [
      { id: "steps", label: "Steps", hint: "All steps of the run, those taken included. Empty: no cap.", inputMode: "numeric", pattern: "[1-9][0-9]{0,8}", title: "a whole number", value: session.max_steps ?? "" },
      { id: "credits", label: "Credits", hint: "What the run may cost altogether. Empty: no cap.", ...AMOUNT, value: session.max_credits === null ? "" : session.max_credits.replace(/\.?0+$/, "") },
      REASON,
    ],
    action: session.stopped_by ? "Set and resume" : "Set caps",
    act: ({ steps, credits, reason }) =>
      call(`admin/sessions/${encodeURIComponent(session.id)}`, { body: { steps: steps ? Number(steps) : null, credits: credits || null, reason } }),
    done: () => `Caps of session ${session.id.slice(0, 8)} set.`,
  });
}

export function stopSession(session) {
  ask({
    title: `Stop session ${session.id.slice(0, 8)}?`,
    message: `Its next calls are refused until its caps are set anew or it has been quiet. ${session.user} is told that it was stopped. A call under way ends by itself.`,
    fields: [REASON],
    action: "Stop session",
    danger: true,
    act: ({ reason }) => call(`admin/sessions/${encodeURIComponent(session.id)}`, { body: { stop: true, reason } }),
    done: () => `Session ${session.id.slice(0, 8)} stopped.`,
  });
}

function toast(message) {
  const node = $("done");
  node.classList.remove("seen");
  text(node, message);
  void node.offsetWidth; // begin the fading anew
  node.classList.add("seen");
}

$("dialog-form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit?.();
});
$("dialog-cancel").addEventListener("click", () => $("dialog").close());
