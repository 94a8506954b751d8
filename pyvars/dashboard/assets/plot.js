// A chart of uPlot with a shared cursor, a shared zoom, marks of events, and a legend with the figures.

/* global uPlot */
import { el, say, style } from "./dom.js";
import * as format from "./format.js";

const plots = new Set();
let zoom = () => {};

export function onZoom(act) {
  zoom = act;
}

// Canvases do not follow a change of the colour scheme, so the charts are drawn again.
export function redraw() {
  for (const plot of plots) plot.chart.redraw(false, true);
}

const WIDTH = 1.5;
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

export class Plot {
  // `lines` are {label, color, dash?, fill?}; `text` formats a number.
  constructor(box, lines, text, { height = 130, legend = null, label = "" } = {}) {
    this.lines = lines;
    this.text = text;
    this.marks = [];
    this.legend = legend;
    this.figures = lines.map((line) => {
      const figure = el("b");
      const swatch = el("i", { className: "swatch" });
      swatch.style.background = `var(${line.color})`;
      legend?.append(el("span", {}, swatch, line.label, " ", figure));
      return figure;
    });
    this.box = el("div", { className: "plot", role: "img", "aria-label": label });
    box.append(this.box);
    this.height = height;
    const grid = { stroke: () => style("--line"), width: 1 };
    const axis = { stroke: () => style("--muted"), font: "11px system-ui, sans-serif", grid, ticks: { show: false } };
    const options = {
      width: this._width(),
      height,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: "pyvars" },
        drag: { x: true, y: false, setScale: false },
        points: { size: 6 },
        bind: { dblclick: () => () => { zoom(null); return null; } },
      },
      scales: { x: { time: true }, y: { range: (chart, low, high) => reach(low, high) } },
      axes: [
        { ...axis, size: 22, space: 70, values: (chart, splits, axisIndex, space, step) => splits.map((time) => format.clock(time, step < 60)) },
        { ...axis, incrs: text === format.bytes ? BINARY : undefined, space: 28, gap: 4, size: (chart, values) => (values ? Math.max(34, ...values.map((each) => each.length * 6.3 + 10)) : 40), values: (chart, splits) => splits.map((each) => text(each)) },
      ],
      series: [{}, ...lines.map((line) => ({
        stroke: () => style(line.color),
        fill: line.fill ? () => style(line.fill) : undefined,
        dash: line.dash,
        width: WIDTH,
        points: { show: false },
      }))],
      hooks: {
        setCursor: [(chart) => this._figures(chart.cursor.idx)],
        draw: [(chart) => this._drawMarks(chart)],
        setSelect: [(chart) => {
          const { left, width } = chart.select;
          if (width < 8) return;
          const range = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          zoom(range);
        }],
      },
    };
    this.chart = new uPlot(options, [[0], ...lines.map(() => [null])], this.box);
    plots.add(this);
  }

  _width() {
    return Math.max(120, Math.floor(this.box.clientWidth));
  }

  // `all` holds the points of each line; the lines may have different times.
  set(all, from, to, marks) {
    const columns = uPlot.join(all.map((points) => [points.t, points.v]));
    this.marks = marks;
    const width = this._width();
    if (width !== this.chart.width) this.chart.setSize({ width, height: this.height });
    this.columns = columns;
    this.chart.batch(() => {
      this.chart.setData(columns, false);
      this.chart.setScale("x", { min: from, max: to });
    });
    this._figures(this.chart.cursor.idx);
  }

  _figures(row) {
    if (!this.columns) return;
    const at = row ?? this._last();
    this.figures.forEach((figure, place) => {
      const number = this.columns[place + 1][at];
      say(figure, number === null || number === undefined ? "–" : this.text(number));
    });
  }

  _last() {
    const t = this.columns[0];
    for (let row = t.length - 1; row >= 0; row--) if (this.columns.slice(1).some((column) => column[row] !== null)) return row;
    return t.length - 1;
  }

  _drawMarks(chart) {
    const { ctx, bbox } = chart;
    ctx.save();
    for (const each of this.marks) {
      const x = Math.round(chart.valToPos(each.time, "x", true)) + 0.5;
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = style(each.color);
      ctx.globalAlpha = 0.75;
      ctx.lineWidth = 1;
      ctx.setLineDash([2, 3]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const size = 4 * (window.devicePixelRatio || 1);
      ctx.beginPath();
      ctx.moveTo(x - size, bbox.top);
      ctx.lineTo(x + size, bbox.top);
      ctx.lineTo(x, bbox.top + size * 1.4);
      ctx.fill();
    }
    ctx.restore();
  }

  destroy() {
    plots.delete(this);
    this.chart.destroy();
    this.box.remove();
  }
}

// The scale always includes 0: on one that begins at 300 MiB, a small change of memory would look large.
function reach(low, high) {
  if (low === null || high === null || !Number.isFinite(low)) return [0, 1];
  if (high === low) return low === 0 ? [0, 1] : low > 0 ? [0, high * 1.3] : [low * 1.3, 0];
  return [Math.min(0, low * 1.1), high > 0 ? high * 1.12 : 0];
}
