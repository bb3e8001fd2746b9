// Signing in and out, the two views, the theme and the connection.

import { showOverview } from "./admin.js";
import { call, follow, key } from "./api.js";
import { recolour, resetBalance, showBalance } from "./balance.js";
import { $, keepAges, text } from "./dom.js";

const THEMES = ["auto", "light", "dark"];
const STATES = { wait: "Connecting …", live: "Live", trouble: "Balances cannot be read", away: "Reconnecting …" };

let following = null;

// Signing in

async function signIn(secret) {
  const data = await call("balance", { secret });
  key.set(secret);
  $("sign-in").hidden = true;
  $("sign-out").hidden = false;
  $("views").hidden = !data.admin;
  showBalance(data);
  show("balance");
}

function signOut(message = "") {
  following?.abort();
  key.forget();
  resetBalance();
  for (const id of ["balance-view", "admin-view", "views", "sign-out", "connection"]) $(id).hidden = true;
  $("sign-in").hidden = false;
  text($("sign-in-error"), message);
  $("key").value = "";
  $("key").focus();
}

$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("sign-in-form").querySelector("[type=submit]");
  text($("sign-in-error"), "");
  button.disabled = true;
  try {
    await signIn($("key").value.trim());
    $("key").value = "";
    $("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  } catch (error) {
    text($("sign-in-error"), error.message);
    $("key").select();
  } finally {
    button.disabled = false;
  }
});

$("show-key").addEventListener("click", () => {
  const shown = $("key").type === "text";
  $("key").type = shown ? "password" : "text";
  text($("show-key"), shown ? "Show" : "Hide");
  $("show-key").setAttribute("aria-pressed", String(!shown));
});

$("sign-out").addEventListener("click", () => signOut());

// The views. The one that is shown is followed.

function show(view) {
  following?.abort();
  following = new AbortController();
  $("balance-view").hidden = view !== "balance";
  $("admin-view").hidden = view !== "admin";
  for (const name of ["balance", "admin"]) $(`show-${name}`).setAttribute("aria-pressed", String(name === view));
  connection("wait");
  follow(view === "admin" ? "admin/stream" : "balance/stream", {
    signal: following.signal,
    onState: connection,
    onRefused: (error) => signOut(error.message),
    onEvent: (name, data) => {
      if (name === "balance") showBalance(data);
      else if (name === "overview") showOverview(data);
    },
  });
}

for (const name of ["balance", "admin"]) $(`show-${name}`).addEventListener("click", () => show(name));

function connection(state) {
  $("connection").hidden = false;
  $("connection").dataset.state = state;
  text($("connection"), STATES[state]);
}

// The theme

function theme(name) {
  document.documentElement.dataset.theme = name;
  text($("theme-name"), name);
  $("theme").setAttribute("aria-label", `Theme: ${name}`);
  recolour();
}

$("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  localStorage.setItem("farthing.theme", next);
  theme(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

theme(document.documentElement.dataset.theme);
keepAges();
if (key.get()) signIn(key.get()).catch((error) => (error.status === 401 ? signOut(error.message) : text($("sign-in-error"), error.message)));
