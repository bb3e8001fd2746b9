// The big number: it runs to its new value, and tells a screen reader now and then.

import { $, amount, el, text } from "./dom.js";

const RUNS_MS = 700;
const TELLS_EVERY_MS = 15_000;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Count {
  #shown = null;
  #target = 0;
  #told = { value: "", at: -Infinity };
  #telling = null;

  /** Run to a decimal text such as "812.416". */
  show(value) {
    const target = Number(value);
    const change = this.#shown === null ? 0 : target - this.#target;
    const from = this.#shown;
    this.#target = target;
    text($("amount-text"), `${amount(value)} credits`);
    if (change) this.#flash(change);
    if (from === null || still.matches || document.hidden) return this.#draw(target);
    const began = performance.now();
    const step = (now) => {
      if (this.#target !== target) return; // a newer run has begun
      const share = Math.min(1, Math.max(0, (now - began) / RUNS_MS));
      this.#draw(from + (target - from) * (1 - (1 - share) ** 3));
      if (share < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    this.#tell(value);
  }

  reset() {
    clearTimeout(this.#telling);
    this.#shown = this.#telling = null;
    $("delta").textContent = "";
  }

  #draw(value) {
    this.#shown = value;
    const [whole, fraction] = amount(value.toFixed(3), false).split(".");
    $("amount").replaceChildren(whole, el("span", { className: "fraction" }, `.${fraction}`));
  }

  #flash(change) {
    const delta = $("delta");
    delta.textContent = (change > 0 ? "+" : "") + amount(change.toFixed(3));
    delta.dataset.sign = change > 0 ? "up" : "down";
    delta.classList.remove("seen");
    void delta.offsetWidth; // begin the fading anew
    delta.classList.add("seen");
  }

  // Not every call: somebody listens to this.
  #tell(value) {
    if (this.#telling || value === this.#told.value) return;
    const wait = Math.max(0, this.#told.at + TELLS_EVERY_MS - performance.now());
    this.#telling = setTimeout(() => {
      this.#telling = null;
      this.#told = { value: this.#target.toFixed(3), at: performance.now() };
      text($("live"), `${amount(this.#told.value)} credits left`);
    }, wait);
  }
}
