// A Track holds numbers over time: rows that the service kept, or rows that the page in a browser has read itself.

const SLACK = 120;

export class Track {
  constructor(step, keep) {
    this.step = step;
    this.keep = keep;
    this.id = null;
    this.seq = 0;
    this.t = [];
    this.values = new Map();
    this.low = new Map();
    this.meta = {};
    this.about = {};
    this.marks = [];
    this.fell = new Set();
    this.rose = new Set();
    this.version = 0;
  }

  get now() {
    return this.t.length ? this.t[this.t.length - 1] : 0;
  }

  has(name) {
    return this.values.has(name);
  }

  // Add an answer of the history. Returns false if it belongs to another life: then the whole history must be read.
  merge(answer) {
    const first = Boolean(answer.meta);
    if (this.id !== null && answer.id !== this.id && !first) return false;
    if (this.id !== null && answer.id !== this.id) this._gap(answer.t[0]);
    this.id = answer.id;
    this.seq = answer.seq;
    if (first) {
      this.meta = answer.meta.series || {};
      this.about = answer.meta;
      if (answer.t.length) this._cut(answer.t[0] - this.step / 2);
    }
    this._addMarks(answer.marks || [], first);
    answer.t.forEach((time, row) => this._append(time, answer, row));
    if (this.t.length && this.t[0] < this.now - this.keep - SLACK * this.step) this._forget(this.now - this.keep);
    this.version += 1;
    return true;
  }

  // Add numbers that this page has read itself, at a time of the browser's clock.
  gather(id, time, numbers) {
    if (this.id !== null && id !== this.id) {
      this._gap(time);
      this.marks.push({ time, kind: "start", text: "the program started again" });
    }
    this.id = id;
    const series = {};
    for (const [name, number] of numbers) series[name] = [number];
    this._append(time, { series }, 0);
    if (this.t[0] < this.now - this.keep - SLACK) this._forget(this.now - this.keep);
    this.version += 1;
  }

  _append(time, answer, row) {
    const last = this.now;
    if (this.t.length && time <= last) return;
    if (this.t.length && time - last < this.step / 2) this._pop(); // closer than half a period: keep one, else a rate is a spike
    else if (this.t.length && time - last > 5 * Math.max(this.step, this._spacing(answer, row))) this._gap(time);
    const length = this.t.length;
    this.t.push(time);
    for (const name in answer.series) {
      let column = this.values.get(name);
      if (!column) this.values.set(name, (column = new Array(length).fill(null)));
      const number = answer.series[name][row] ?? null;
      const before = column[length - 1];
      if (number !== null && before !== null && before !== undefined) {
        if (number < before || !Number.isInteger(number)) this.fell.add(name);
        else if (number > before) this.rose.add(name);
      }
      column.push(number);
    }
    for (const column of this.values.values()) if (column.length <= length) column.push(null);
    for (const name in answer.low || {}) {
      let column = this.low.get(name);
      if (!column) this.low.set(name, (column = this.values.get(name).slice(0, length)));
      column.push(answer.low[name][row] ?? null);
    }
    for (const [name, column] of this.low) if (column.length <= length) column.push(this.values.get(name)[length]);
  }

  _spacing(answer, row) {
    return row > 0 ? answer.t[row] - answer.t[row - 1] : answer.t?.length > 1 ? answer.t[1] - answer.t[0] : 0;
  }

  _pop() {
    this.t.pop();
    for (const column of this.values.values()) column.pop();
    for (const column of this.low.values()) column.pop();
  }

  // Adds a row without numbers, so that lines are interrupted here.
  _gap(before) {
    if (!this.t.length || this.values.size === 0) return;
    const time = Math.min(this.now + this.step, before === undefined ? Infinity : (this.now + before) / 2);
    this.t.push(time);
    for (const column of this.values.values()) column.push(null);
    for (const column of this.low.values()) column.push(null);
  }

  _cut(from) {
    while (this.t.length && this.now >= from) this._pop();
    if (this.t.length) this._gap(from);
  }

  _forget(until) {
    const rows = this._first(until);
    this.t.splice(0, rows);
    for (const column of this.values.values()) column.splice(0, rows);
    for (const column of this.low.values()) column.splice(0, rows);
    this.marks = this.marks.filter((each) => each.time >= until);
  }

  _addMarks(marks, first) {
    const known = new Set(first ? [] : this.marks.map((each) => `${each.time} ${each.text}`));
    if (first) this.marks = this.marks.filter((each) => !marks.length || each.time < marks[0].time - 1);
    for (const each of marks) if (!known.has(`${each.time} ${each.text}`)) this.marks.push(each);
    this.marks.sort((one, other) => one.time - other.time);
  }

  // The first row at this time or later.
  _first(time) {
    let low = 0, high = this.t.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.t[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  onlyRises(name) {
    return this.rose.has(name) && !this.fell.has(name);
  }

  last(name) {
    const column = this.values.get(name);
    if (!column) return null;
    for (let row = column.length - 1; row >= Math.max(0, column.length - 15); row--) if (column[row] !== null) return column[row];
    return null;
  }

  // The mean rate of a counter per second, over the last `over` seconds.
  speed(name, over = 5) {
    const column = this.values.get(name);
    if (!column) return null;
    let end = column.length - 1;
    while (end > 0 && column[end] === null) end -= 1;
    let begin = end - 1;
    while (begin > 0 && column[begin - 1] !== null && this.t[end] - this.t[begin] < over) begin -= 1;
    if (begin < 0 || column[begin] === null || column[end] === null) return null;
    const rise = column[end] - column[begin];
    return rise < 0 ? null : rise / (this.t[end] - this.t[begin]);
  }

  // The points of this track, where those up to the end of a finer track come from that track.
  finer(fine, name, from, to, asRate, most) {
    const points = this.points(name, from, to, asRate, most);
    if (!fine?.has(name) || fine.step !== this.step) return points;
    const old = fine.points(name, from, to, asRate, most);
    const begin = points.t.findIndex((time) => time > fine.now);
    return begin < 0 ? old : { t: [...old.t, ...points.t.slice(begin)], v: [...old.v, ...points.v.slice(begin)] };
  }

  // Returns {t, v, low} between two times: the numbers of a gauge, or the rates of a counter. There are about `most`
  // points, each for an equal span of time: v and low are the highest and lowest number of a gauge, or v is the mean
  // rate of a counter.
  points(name, from, to, asRate, most = Infinity) {
    const column = this.values.get(name), lows = this.low.get(name), every = (to - from) / most;
    const begin = Math.max(0, this._first(from) - 1), end = Math.min(this.t.length, this._first(to) + 1);
    const place = (row) => (every ? Math.floor(this.t[row] / every) : row);
    const found = { t: [], v: [], low: asRate ? null : [] };
    const push = (row, number, low) => {
      found.t.push(this.t[row]);
      found.v.push(number);
      found.low?.push(low);
    };
    let base = begin > 0 && column && column[begin - 1] !== null ? begin - 1 : -1, bucket = NaN;
    for (let row = begin; row < end; row++) {
      const number = column ? column[row] : null;
      if (number === null) {
        push(row, null, null);
        [base, bucket] = [-1, NaN];
      } else if (asRate) {
        if (row + 1 < end && column[row + 1] !== null && place(row + 1) === place(row)) continue;
        const span = base < 0 ? 0 : this.t[row] - this.t[base];
        if (row === end - 1 && span < every / 2 && found.t.length) break; // too short a span for a mean
        const rise = base < 0 ? -1 : number - column[base];
        push(row, rise < 0 ? null : rise / span, null); // less than before: the program restarted
        base = row;
      } else {
        const last = found.t.length - 1, low = lows ? lows[row] ?? number : number;
        if (place(row) === bucket) {
          found.t[last] = this.t[row];
          found.v[last] = Math.max(found.v[last], number);
          found.low[last] = Math.min(found.low[last], low);
        } else push(row, number, low);
        bucket = place(row);
      }
    }
    return found;
  }
}
