// Draws small lines without axes. For 300 rows a chart library would take five times as long.

import { style } from "./dom.js";

export const POINTS = 45; // of a line

let colors = null;

let sizes = new WeakMap();

export function forgetColors() {
  colors = null;
}

// Sizes are kept: reading one after a change of a text forces a layout, which costs more than drawing the line.
export function forgetSizes() {
  sizes = new WeakMap();
}

function sizeOf(canvas) {
  let size = sizes.get(canvas);
  if (!size) {
    size = [canvas.clientWidth, canvas.clientHeight];
    if (size[0]) sizes.set(canvas, size);
  }
  return size;
}

function palette() {
  if (!colors) colors = { line: style("--accent"), fill: style("--accent-soft"), bad: style("--bad"), badFill: style("--bad-soft"), clip: style("--warn") };
  return colors;
}

// The top of the scale. A single spike is cut off, so that it does not flatten the rest of the line.
function ceiling(values) {
  if (values.length < 40) return Math.max(...values);
  const sorted = Float64Array.from(values).sort();
  const high = sorted[Math.floor((sorted.length - 1) * 0.995)];
  const top = sorted[sorted.length - 1];
  return top > high * 4 ? high * 1.15 : top;
}

export function draw(canvas, points, from, to, { zero = false, bad = false } = {}) {
  const [width, height] = sizeOf(canvas);
  if (!width) return;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const { t, v, low } = points;
  const known = v.filter((each) => each !== null);
  if (known.length < 2) return;
  let top = ceiling(known);
  let bottom = zero ? 0 : Math.min(...(low ? low.filter((each) => each !== null) : known));
  if (top - bottom < Math.abs(top) * 1e-3 || top === bottom) { // nearly constant: a flat line, not magnified noise
    const room = Math.abs(top) * 0.05 || 1;
    if (zero) [bottom, top] = [0, top || 1];
    else [bottom, top] = [bottom - room, top + room];
  }
  const x = (time) => ((time - from) / (to - from)) * (width - 2) + 1;
  const y = (number) => height - 2 - ((Math.min(number, top) - bottom) / (top - bottom)) * (height - 4);
  const color = palette();
  context.lineWidth = 1.25;
  context.lineJoin = "round";
  context.strokeStyle = bad ? color.bad : color.line;
  context.fillStyle = bad ? color.badFill : color.fill;
  let row = 0;
  while (row < t.length) {
    while (row < t.length && v[row] === null) row += 1;
    const begin = row;
    while (row < t.length && v[row] !== null) row += 1;
    if (row === begin) break;
    context.beginPath();
    for (let at = begin; at < row; at++) context.lineTo(x(t[at]), y(v[at]));
    context.stroke();
    context.lineTo(x(t[row - 1]), height);
    context.lineTo(x(t[begin]), height);
    context.fill();
    if (!low) continue;
    context.beginPath(); // fills between the highest and the lowest number
    for (let at = begin; at < row; at++) context.lineTo(x(t[at]), y(v[at]));
    for (let at = row - 1; at >= begin; at--) context.lineTo(x(t[at]), y(low[at]));
    context.fill();
  }
  context.fillStyle = color.clip;
  for (let at = 0; at < t.length; at++) if (v[at] > top) context.fillRect(x(t[at]) - 1, 0, 2, 3);
}
