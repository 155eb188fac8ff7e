// Lanes of lines over one time axis: a plot a unit, drawn by uPlot.

import uPlot from "uplot";
import { formatTick } from "./text.js";

// Told apart on white and on black, by most colour-blind people, too; red is left to faults.
const LIGHT = ["#2a6fdb", "#d9730d", "#1b8a5a", "#9b4dca", "#0b8ba3", "#a8791a", "#c2408f", "#5b6b7f"];
const DARK = ["#6ba6ff", "#ffa657", "#4fd18b", "#c99bff", "#4fd0e6", "#e3c25a", "#ff8ccb", "#a9b6c6"];
const FAULT = ["#d0342c", "#ff6b61"];
const DASHES = [[], [6, 3], [2, 3]];

const HEIGHTS = { 1: 250, 2: 150, 3: 118, 4: 98 };
const AXIS_HEIGHT = 26;
const AXIS_WIDTH = 58;
const LINE_WIDTH = 1.5;
const DENSE = 3; // from so many rows a pixel on, thin whole lines: no dash is seen, and painting is costly
const GAP_STEPS = 2.5; // rows further apart than so many usual steps are not joined

export class Chart {
  // series: [{name, unit, lane, color}], lanes: [label]
  constructor(el, { series, lanes, ring, onCursor }) {
    this.el = el;
    this.series = series;
    this.ring = ring;
    this.marks = [];
    this.isHidden = series.map(() => false);
    this.gaps = [];
    this.onCursor = onCursor;
    this.span = Infinity;
    this.readTheme();
    const sync = uPlot.sync(`iotf-${Math.random()}`);
    this.lanes = lanes.map((label, lane) => {
      const members = series.map((_, i) => i).filter((i) => series[i].lane === lane);
      const box = document.createElement("div");
      box.className = "iotf-lane";
      if (label) {
        const title = document.createElement("span");
        title.textContent = label;
        box.append(title);
      }
      el.append(box);
      return { box, members, isLast: lane === lanes.length - 1, plot: null };
    });
    for (const lane of this.lanes) {
      lane.plot = new uPlot(this.#options(lane, sync), this.#slice(lane, [0, 0]), lane.box);
    }
    this.resizer = new ResizeObserver(() => this.#resize());
    this.resizer.observe(el);
    this.#resize();
  }

  color(i) {
    const palette = this.isDark ? DARK : LIGHT;
    return palette[this.series[i].color % palette.length];
  }

  // 0: a whole line, 1: dashes, 2: dots
  dashing(i) {
    return Math.floor(this.series[i].color / LIGHT.length) % DASHES.length;
  }

  dash(i) {
    return DASHES[this.dashing(i)];
  }

  // Colours follow the text around the chart, so any theme is right. A chart that is scrolled far
  // away may be taken out of the page: it has no colours then, and gets them when it is back.
  readTheme() {
    const found = getComputedStyle(this.el).color.match(/[\d.]+/g);
    if (!found && this.textColor) return;
    const [r, g, b] = (found ?? [0, 0, 0]).map(Number);
    this.isDark = 0.3 * r + 0.6 * g + 0.1 * b > 140;
    this.textColor = `rgba(${r}, ${g}, ${b}, 0.68)`;
    this.gridColor = `rgba(${r}, ${g}, ${b}, 0.11)`;
    this.lanes?.forEach((lane) => lane.plot.redraw(false, true));
  }

  toggle(i) {
    this.isHidden[i] = !this.isHidden[i];
    const lane = this.lanes[this.series[i].lane];
    lane.plot.setSeries(lane.members.indexOf(i) + 1, { show: !this.isHidden[i] });
  }

  draw() {
    const { times } = this.ring;
    if (!times.length) return;
    const last = times[times.length - 1];
    const from = Math.max(times[0], last - this.span);
    const range = [Math.max(0, this.ring.indexOf(from) - 1), times.length];
    this.from = from;
    this.to = Math.max(last, from + 1e-3);
    this.gaps = gapsOf(times, range);
    const isDense = range[1] - range[0] > DENSE * this.el.clientWidth;
    for (const lane of this.lanes) {
      lane.members.forEach((i, at) => {
        const line = lane.plot.series[at + 1];
        line.width = isDense ? 1 : LINE_WIDTH;
        line.dash = isDense ? [] : this.dash(i);
      });
      lane.plot.setData(this.#slice(lane, range));
    }
  }

  destroy() {
    this.resizer.disconnect();
    for (const lane of this.lanes) lane.plot.destroy();
    this.el.replaceChildren();
  }

  #slice({ members }, [low, high]) {
    this.low = low;
    return [
      this.ring.times.slice(low, high),
      ...members.map((i) => this.ring.values[i].slice(low, high)),
    ];
  }

  #resize() {
    const width = this.el.clientWidth;
    if (!width) return;
    for (const lane of this.lanes) lane.plot.setSize({ width, height: this.#height(lane) });
  }

  #height(lane) {
    return HEIGHTS[this.lanes.length] + (lane.isLast ? AXIS_HEIGHT : 6);
  }

  #options(lane, sync) {
    const axis = {
      stroke: () => this.textColor,
      font: "11px system-ui, sans-serif",
      grid: { stroke: () => this.gridColor, width: 1 },
      ticks: { show: false },
    };
    return {
      width: Math.max(200, this.el.clientWidth),
      height: this.#height(lane),
      padding: [10, 26, lane.isLast ? 0 : 4, 0],
      ms: 1e-3,
      legend: { show: false },
      cursor: {
        sync: { key: sync.key, setSeries: false },
        drag: { x: false, y: false },
        points: { size: 6 },
        y: false,
      },
      scales: {
        x: { time: false, range: () => [this.from ?? 0, this.to ?? 1] },
        y: { range: (plot, low, high) => paddedRange(low, high) },
      },
      axes: [
        {
          ...axis,
          show: true,
          size: lane.isLast ? AXIS_HEIGHT : 0,
          gap: 6,
          space: 90,
          incrs: TIME_STEPS,
          values: (plot, splits, axisIndex, space, step) =>
            lane.isLast ? splits.map((s) => formatTick(s, step)) : splits.map(() => ""),
        },
        { ...axis, size: AXIS_WIDTH, gap: 8, space: 34 },
      ],
      series: [
        {},
        ...lane.members.map((i) => ({
          label: this.series[i].name,
          stroke: () => this.color(i),
          dash: this.dash(i),
          width: LINE_WIDTH,
          spanGaps: false,
          gaps: (plot, s, from, to, gaps) => this.#gaps(plot, from, to, gaps),
          points: { show: (plot, s, from, to) => to - from < 40, size: 4, fill: () => this.color(i) },
        })),
      ],
      hooks: {
        draw: [(plot) => this.#drawMarks(plot, lane)],
        setCursor: [(plot) => lane.isLast && this.#tellCursor(plot)],
      },
    };
  }

  #tellCursor(plot) {
    const at = plot.cursor.idx;
    this.onCursor(at === null || at === undefined || plot.cursor.left < 0 ? null : this.low + at);
  }

  // Rows that never came leave a gap as wide as they would have been.
  #gaps(plot, from, to, gaps) {
    const inView = this.gaps.filter((i) => i > from && i <= to);
    if (!inView.length) return gaps;
    const times = plot.data[0];
    const more = inView.map((i) => [times[i - 1], times[i]].map((t) => plot.valToPos(t, "x", true)));
    return gaps.concat(more).sort((a, b) => a[0] - b[0]);
  }

  // Each faulty reading is ringed, and each faulty row has a tick at the top of its lanes.
  #drawMarks(plot, lane) {
    if (!this.marks.length) return;
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top - 5 * scale, bbox.width, bbox.height + 5 * scale);
    ctx.clip();
    ctx.setLineDash([]); // uPlot leaves that of the line it drew last
    ctx.strokeStyle = ctx.fillStyle = FAULT[this.isDark ? 1 : 0];
    ctx.lineWidth = 1.5 * scale;
    for (const { time, series } of this.marks) {
      if (time < this.from || time > this.to) continue;
      if (series >= 0 && (!lane.members.includes(series) || this.isHidden[series])) continue;
      const x = plot.valToPos(time, "x", true);
      ctx.fillRect(x - scale, bbox.top - 5 * scale, 2 * scale, 5 * scale);
      const value = series < 0 ? null : this.ring.values[series][this.ring.indexOf(time)];
      if (value === null || value === undefined) continue;
      ctx.beginPath();
      ctx.arc(x, plot.valToPos(value, "y", true), 3.5 * scale, 0, 2 * Math.PI);
      ctx.stroke();
    }
    ctx.restore();
  }
}

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const TIME_STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE,
  5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 365 * DAY,
];

function paddedRange(low, high) {
  if (low === null || high === null) return [0, 1];
  const pad = high > low ? 0.08 * (high - low) : Math.max(Math.abs(high) * 0.05, 0.5);
  return [low - pad, high + pad];
}

// Behind which rows, counted from the first of the range, others are missing.
function gapsOf(times, [low, high]) {
  const longest = GAP_STEPS * usualStep(times, [low, high]);
  const found = [];
  for (let i = low + 1; i < high; i++) if (times[i] - times[i - 1] > longest) found.push(i - low);
  return found;
}

function usualStep(times, [low, high]) {
  const steps = [];
  const stride = Math.max(1, Math.floor((high - low) / 64));
  for (let i = low + 1; i < high; i += stride) steps.push(times[i] - times[i - 1]);
  steps.sort((a, b) => a - b);
  return steps.length ? steps[steps.length >> 1] : Infinity;
}
