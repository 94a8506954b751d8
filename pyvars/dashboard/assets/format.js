// Formats numbers by their units.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function plain(value, digits = 3) {
  const size = Math.abs(value);
  if (size >= 1000) return grouped.format(value);
  return String(Number(value.toPrecision(digits)));
}

function scaled(value, base, words) {
  let place = 0;
  while (Math.abs(value) >= base * 0.9995 && place < words.length - 1) {
    value /= base;
    place += 1;
  }
  return [value, words[place]];
}

export function bytes(value) {
  const [number, word] = scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
  const size = Math.abs(number);
  return `${number.toFixed(word === "B" || size >= 100 ? 0 : size >= 10 ? 1 : 2)} ${word}`;
}

export function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 ms";
  if (size < 0.001) return `${plain(value * 1e6, size < 1e-5 ? 2 : 3)} µs`;
  if (size < 1) return `${plain(value * 1e3)} ms`;
  if (size < 120) return `${plain(value)} s`;
  if (size < 7200) return `${plain(value / 60)} min`;
  if (size < 172800) return `${plain(value / 3600)} h`;
  return `${plain(value / 86400)} d`;
}

export function count(value) {
  if (Number.isInteger(value) && Math.abs(value) < 100000) return grouped.format(value);
  if (Math.abs(value) >= 1e15) return value.toExponential(3);
  if (Math.abs(value) >= 10000) {
    const [number, word] = scaled(value, 1000, ["", "k", "M", "G", "T"]);
    return `${number.toFixed(Math.abs(number) >= 100 ? 1 : 2)}${word}`;
  }
  return Math.abs(value) >= 1000 ? grouped.format(value) : String(Number(value.toPrecision(4)));
}

export function percent(ratio) {
  const value = ratio * 100;
  return `${Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : plain(value, 2)} %`;
}

export function clock(time, withSeconds = true) {
  const date = new Date(time * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}${withSeconds ? `:${two(date.getSeconds())}` : ""}`;
}

export function value(number, unit) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  if (unit === "bytes") return bytes(number);
  if (unit === "seconds") return seconds(number);
  if (unit === "nanoseconds") return seconds(number / 1e9);
  if (unit === "ratio") return percent(number);
  if (unit === "timestamp") return clock(number);
  return unit ? `${count(number)} ${unit}` : count(number);
}

// A counter of seconds rises by at most one second a second for each thread: its rate is a share of a core.
export function rate(number, unit) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  if (unit === "seconds") return percent(number);
  if (unit === "nanoseconds") return percent(number / 1e9);
  if (unit === "bytes") return `${bytes(number)}/s`;
  const of = unit ? ` ${unit}` : "";
  if (number !== 0 && Math.abs(number) < 0.1) return `${plain(number * 60, 2)}${of}/min`;
  return `${Math.abs(number) >= 10000 ? count(number) : plain(number)}${of}/s`;
}

export function signed(text, number) {
  return number > 0 ? `+${text}` : text;
}

export function ago(span) {
  return span < 90 ? `${Math.round(span)} s` : span < 5400 ? `${Math.round(span / 60)} min` : `${(span / 3600).toFixed(1)} h`;
}
