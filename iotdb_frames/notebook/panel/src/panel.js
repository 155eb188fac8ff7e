// The panel as a widget view: what it streams to, a live chart, counters, and what went wrong.
//
// Rows and marks come as messages with binary buffers, all else as the synced trait `state`. A view
// says hello when it is made, and again from time to time: the kernel sends what it holds to a view
// that is new, and nothing where nobody has been looking for a while. A hello without an answer is
// said again through a comm of its own: see chart.py for how the model's may be dead.

import { Chart } from "./chart.js";
import { Ring } from "./ring.js";
import { formatSpan, formatTime, formatValue } from "./text.js";

const HELLO_EVERY_MS = 15_000;
const PATIENCE_MS = 2_000;
const SILENT_MS = 25_000; // without a word for so long, there is no kernel
const GONE = "The kernel has ended or was restarted: run the cell again.";
const HELLO_TARGET = "iotdb_frames.hello";
const MAX_MARKS = 2000;

export default {
  render({ model, el }) {
    const view = new PanelView(model, el);
    return () => view.destroy();
  },
};

class PanelView {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.heardAt = Date.now();
    this.id = Math.random().toString(36).slice(2);
    this.ring = null;
    this.chart = null;
    this.cursor = null;
    this.tiles = [];
    this.isDirty = false;
    this.isVisible = true;
    this.span = undefined;
    el.classList.add("iotf-panel");
    el.innerHTML = `
      <div class="iotf-head">
        <i></i><b></b><span class="iotf-state" role="status"></span>
        <span class="iotf-spans" role="group" aria-label="time shown"></span>
      </div>
      <div class="iotf-error" role="alert" hidden></div>
      <div class="iotf-chart"><div class="iotf-empty"></div></div>
      <div class="iotf-legend"></div>
      <dl class="iotf-counters"></dl>`;
    const find = (name) => el.querySelector(name);
    this.dom = {
      dot: find("i"),
      title: find("b"),
      state: find(".iotf-state"),
      spans: find(".iotf-spans"),
      error: find(".iotf-error"),
      chart: find(".iotf-chart"),
      empty: find(".iotf-empty"),
      legend: find(".iotf-legend"),
      counters: find(".iotf-counters"),
    };
    this.onMessage = (message, buffers) => {
      this.hear();
      this.receive(message, buffers);
    };
    this.onState = () => {
      this.hear();
      this.showState();
    };
    this.onLife = () => setTimeout(() => this.showState()); // once the view is marked
    model.on("msg:custom", this.onMessage);
    model.on("change:state", this.onState);
    model.on("comm_live_update", this.onLife);
    this.watcher = new IntersectionObserver(([entry]) => {
      this.isVisible = entry.isIntersecting;
      if (!this.isVisible) return;
      this.restyle();
      this.schedule();
    });
    this.watcher.observe(el);
    // JupyterLab's theme is an attribute of the body; elsewhere it follows the system.
    this.themes = new MutationObserver(() => setTimeout(() => this.restyle(), 50));
    this.themes.observe(document.body, { attributes: true });
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.onSystem = () => this.restyle();
    this.system.addEventListener("change", this.onSystem);
    this.showState();
    this.hellos = setInterval(() => this.hello(), HELLO_EVERY_MS);
    this.hello();
  }

  destroy() {
    clearInterval(this.hellos);
    clearTimeout(this.patience);
    this.model.off("msg:custom", this.onMessage);
    this.model.off("change:state", this.onState);
    this.model.off("comm_live_update", this.onLife);
    this.watcher.disconnect();
    this.themes.disconnect();
    this.system.removeEventListener("change", this.onSystem);
    this.chart?.destroy();
    this.model.send({ kind: "bye", view: this.id });
  }

  hear() {
    this.heardAt = Date.now();
    if (this.isGone) this.showState();
  }

  hello() {
    if (Date.now() - this.heardAt > SILENT_MS) this.showState();
    const message = { kind: "hello", view: this.id, has: this.ring !== null };
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.helloAgain(message), PATIENCE_MS);
    this.model.send(message);
  }

  // The kernel closes this comm when it has heard it.
  helloAgain(message) {
    const id = Math.random().toString(36).slice(2);
    const content = { ...message, key: this.model.get("key") };
    this.model.widget_manager?._create_comm?.(HELLO_TARGET, id, content, {}, []).catch(console.warn);
  }

  receive(message, buffers) {
    if (message.view && message.view !== this.id) return;
    if (message.kind === "welcome") clearTimeout(this.patience);
    if (message.kind === "series") this.setSeries(message);
    if (!this.ring) return;
    if (message.kind === "rows") {
      this.ring.add(floatsOf(buffers[0]), floatsOf(buffers[1]));
      this.schedule();
    }
    if (message.kind === "marks") {
      const times = floatsOf(buffers[0]);
      message.series.forEach((series, i) => {
        this.chart.marks.push({ time: times[i], series, kind: message.kinds[i] });
      });
      this.chart.marks.splice(0, this.chart.marks.length - MAX_MARKS);
      this.schedule();
    }
  }

  setSeries({ series, lanes, capacity, spans }) {
    this.chart?.destroy();
    this.series = series;
    this.ring = new Ring(series.length, capacity);
    this.chart = new Chart(this.dom.chart, {
      series,
      lanes,
      ring: this.ring,
      onCursor: (at) => {
        this.cursor = at;
        this.showValues();
      },
    });
    this.dom.chart.append(this.dom.empty);
    this.showSpans(spans);
    this.showLegend();
    this.draw();
  }

  showSpans(spans) {
    this.span = spans.includes(this.span) ? this.span : spans[0];
    const buttons = spans.map((span) => {
      const button = document.createElement("button");
      button.textContent = span === null ? "all" : formatSpan(span);
      button.setAttribute("aria-pressed", span === this.span);
      button.onclick = () => {
        this.span = span;
        this.showSpans(spans);
        this.draw();
      };
      return button;
    });
    this.dom.spans.replaceChildren(...buttons);
  }

  showLegend() {
    this.values = this.series.map(() => document.createElement("span"));
    this.swatches = this.series.map(() => document.createElement("i"));
    const chips = this.series.map((series, i) => {
      const chip = document.createElement("button");
      const name = document.createElement("span");
      name.textContent = series.name;
      this.values[i].className = "iotf-value";
      chip.title = "show or hide";
      chip.setAttribute("aria-pressed", "true");
      chip.append(this.swatches[i], name, this.values[i]);
      chip.onclick = () => {
        this.chart.toggle(i);
        chip.setAttribute("aria-pressed", !this.chart.isHidden[i]);
      };
      return chip;
    });
    this.when = document.createElement("span");
    this.when.className = "iotf-when";
    this.dom.legend.replaceChildren(...chips, this.when);
    this.restyle();
  }

  restyle() {
    if (!this.chart) return;
    this.chart.readTheme();
    this.swatches.forEach((swatch, i) => {
      swatch.style.background = this.chart.color(i);
      swatch.className = ["", "iotf-dashed", "iotf-dotted"][this.chart.dashing(i)];
    });
  }

  // The values under the cursor, or the latest of each series.
  showValues() {
    const at = this.cursor;
    const { times, values } = this.ring;
    this.series.forEach(({ unit }, i) => {
      const value = at === null ? lastOf(values[i]) : values[i][at];
      this.values[i].textContent = formatValue(value) + (unit ? ` ${unit}` : "");
    });
    const time = times[at === null ? times.length - 1 : at];
    if (time === undefined) return;
    const kinds = this.chart.marks.filter((mark) => at !== null && mark.time === time);
    const faults = kinds.map(({ kind, series }) => {
      return series < 0 ? kind : `${kind} of ${this.series[series].name}`;
    });
    this.when.textContent = [formatTime(time), ...new Set(faults)].join(" · ");
  }

  schedule() {
    if (this.isDirty || !this.isVisible) return;
    this.isDirty = true;
    requestAnimationFrame(() => {
      this.isDirty = false;
      this.draw();
    });
  }

  draw() {
    if (!this.chart) return;
    this.dom.empty.hidden = this.ring.length > 0;
    this.dom.chart.classList.toggle("iotf-is-empty", !this.ring.length);
    this.chart.span = this.span ?? Infinity;
    this.chart.draw();
    this.showValues();
  }

  showState() {
    const isMarked = this.el.closest(".jupyter-widgets-disconnected") !== null; // by ipywidgets
    this.isGone = isMarked || Date.now() - this.heardAt > SILENT_MS;
    const last = this.model.get("state") ?? {};
    const gone = { word: "no kernel", tone: "idle", error: GONE, error_tone: "warn" };
    const state = this.isGone ? { ...last, ...gone } : last;
    this.dom.title.textContent = state.title || state.word || "";
    this.dom.state.textContent = state.title ? (state.word ?? "") : "";
    this.dom.dot.className = `iotf-dot iotf-${state.tone ?? "idle"}`;
    this.dom.empty.textContent = state.empty ?? "";
    this.dom.error.hidden = !state.error;
    this.dom.error.textContent = state.error ?? "";
    this.dom.error.classList.toggle("iotf-warn", state.error_tone === "warn");
    this.showCounters(state.counters ?? []);
  }

  // Tiles stay what they are and change their texts, so that one can mark and copy a number.
  showCounters(counters) {
    for (const { tile } of this.tiles.splice(counters.length)) tile.remove();
    counters.forEach(([label, value, unit, tone], i) => {
      const { tile, name, number, small } = (this.tiles[i] ??= this.addTile());
      tile.className = tone ? `iotf-${tone}` : "";
      name.textContent = label;
      number.data = value;
      small.textContent = unit ?? "";
    });
  }

  addTile() {
    const tile = document.createElement("div");
    const name = document.createElement("dt");
    const number = document.createTextNode("");
    const small = document.createElement("small");
    const value = document.createElement("dd");
    value.append(number, small);
    tile.append(name, value);
    this.dom.counters.append(tile);
    return { tile, name, number, small };
  }
}

// A buffer is a view into a larger message, at any offset.
function floatsOf(view) {
  return new Float64Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function lastOf(column) {
  for (let i = column.length - 1; i >= 0; i--) if (column[i] !== null) return column[i];
  return null;
}
