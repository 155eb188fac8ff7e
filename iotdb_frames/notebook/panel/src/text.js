// How times and numbers are written. Times are UTC, as in the frames.

const two = (n) => String(n).padStart(2, "0");
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

// seconds since 1970, and the seconds from one tick of the axis to the next
export function formatTick(seconds, step) {
  const date = new Date(seconds * 1e3);
  const clock = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  if (step >= 86400) return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
  if (step >= 60) return clock;
  const withSeconds = `${clock}:${two(date.getUTCSeconds())}`;
  if (step >= 1) return withSeconds;
  return `${withSeconds}.${String(date.getUTCMilliseconds()).padStart(3, "0")}`;
}

export function formatTime(seconds) {
  const text = new Date(seconds * 1e3).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, text.endsWith(".000Z") ? 19 : 23)}`;
}

// Four digits: enough to follow a value, and it stays as wide as it is.
export function formatValue(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(2);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3;
  return value.toFixed(digits).replace(/^(-?\d+)(?=\d{3}$)/, "$1,");
}

export function formatSpan(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${+(seconds / size).toPrecision(3)} ${unit}`;
  }
  return `${+seconds.toPrecision(3)} s`;
}
