// The balance as steps over the time the page is open. dygraphs draws it; without it the page has its numbers.

import { $, amount, text } from "./dom.js";

const KEEPS_MS = 60 * 60_000;
const MOST_POINTS = 4000;
const SHOWS_AT_LEAST_MS = 60_000;

const clockTime = (at) => new Date(at).toLocaleTimeString("en-GB");

export class BalanceChart {
  #points = [];
  #graph = null;
  #ticking = null;

  /** Add what the balance is now, and what of it no running call holds. */
  add(balance, available) {
    const now = Date.now();
    if (!this.#points.length) text($("chart-from"), clockTime(now));
    this.#points.push([new Date(now), Number(balance), Number(available)]);
    this.#forget(now);
    this.#draw();
    this.#ticking ??= setInterval(() => this.#draw(), 1000);
    const [first, last] = [this.#points[0][1], Number(balance)];
    $("chart").setAttribute("aria-label", `Balance since ${clockTime(this.#points[0][0])}: from ${amount(first.toFixed(3))} to ${amount(last.toFixed(3))} credits`);
  }

  reset() {
    clearInterval(this.#ticking);
    this.#graph?.destroy();
    this.#points = [];
    this.#graph = this.#ticking = null;
  }

  /** Take the colours of the page anew. */
  recolour() {
    this.#graph?.updateOptions(this.#colours());
  }

  #forget(now) {
    const keep = this.#points.findLastIndex(([at]) => at < now - KEEPS_MS);
    if (keep > 0) this.#points.splice(0, keep);
    if (this.#points.length > MOST_POINTS) this.#points.splice(0, this.#points.length - MOST_POINTS);
    text($("chart-from"), clockTime(this.#points[0][0]));
  }

  #draw() {
    const missing = !window.Dygraph;
    $("chart-missing").hidden = !missing;
    $("chart").hidden = missing;
    if (missing || !this.#points.length || !$("chart").clientWidth) return;
    const now = new Date();
    const rows = [...this.#points, [now, ...this.#points.at(-1).slice(1)]];
    const first = rows[0][0].getTime();
    const values = rows.flatMap(([, ...both]) => both);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low) * 0.15 || Math.max(1, Math.abs(high) * 0.02);
    const frame = {
      file: rows,
      valueRange: [low >= 0 ? Math.max(0, low - room) : low - room, high + room],
      dateWindow: [first, Math.max(now.getTime(), first + SHOWS_AT_LEAST_MS)],
    };
    if (this.#graph) this.#graph.updateOptions(frame);
    else this.#graph = this.#begin(rows, frame);
  }

  #begin(rows, frame) {
    const { Dygraph } = window;
    // The legend measures itself by an inline style even where it is not shown, which this page forbids.
    Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);
    return new Dygraph($("chart"), rows, { ...this.#options(), ...frame });
  }

  #colours() {
    const { color } = getComputedStyle($("chart"));
    return { colors: [color, color], axisLineColor: "transparent", gridLineColor: getComputedStyle($("chart")).borderTopColor };
  }

  #options() {
    return {
      ...this.#colours(),
      labels: ["Time", "Balance", "Available"],
      series: { Available: { strokeWidth: 1.25, strokePattern: [3, 3], fillGraph: false } },
      stepPlot: true,
      fillGraph: true,
      fillAlpha: 0.14,
      strokeWidth: 2.25,
      highlightCircleSize: 4,
      gridLineWidth: 1,
      rightGap: 8,
      interactionModel: {}, // hovering only: the page scrolls under a finger
      axes: {
        x: { drawGrid: false, pixelsPerLabel: 80 },
        y: { pixelsPerLabel: 34, axisLabelWidth: 58, axisLabelFormatter: (value) => value.toLocaleString("en", { maximumFractionDigits: 3 }) },
      },
      highlightCallback: (_, at, [point]) => text($("chart-point"), `${clockTime(at)}: ${amount(point.yval.toFixed(3))}`),
      unhighlightCallback: () => text($("chart-point"), ""),
    };
  }
}
