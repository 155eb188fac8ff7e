// The last rows of some series: times in seconds, ascending, and a number or null a series and row.
//
// Rows mostly come in order and are appended. Late rows are merged in, and a cell written again is
// replaced by the later one unless that is null: what the database makes of them, too.

export class Ring {
  constructor(nSeries, capacity) {
    this.capacity = capacity;
    this.times = [];
    this.values = Array.from({ length: nSeries }, () => []);
  }

  get length() {
    return this.times.length;
  }

  // times: n numbers; values: series by series, n numbers each; NaN is a missing cell
  add(times, values) {
    const n = times.length;
    if (!n) return;
    let isAppended = !this.length || times[0] > this.times[this.length - 1];
    for (let i = 1; isAppended && i < n; i++) isAppended = times[i] > times[i - 1];
    const columns = this.values.map((_, s) => {
      const column = new Array(n);
      for (let i = 0; i < n; i++) {
        const value = values[s * n + i];
        column[i] = value === value ? value : null;
      }
      return column;
    });
    if (isAppended) this.#append(times, columns);
    else this.#merge(times, columns);
    // Room for a quarter more, so that cutting off the oldest rows is rare.
    if (this.length > this.capacity * 1.25) {
      const extra = this.length - this.capacity;
      this.times.splice(0, extra);
      for (const column of this.values) column.splice(0, extra);
    }
  }

  // Index of the first row at or after a time.
  indexOf(time) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #append(times, columns) {
    for (let i = 0; i < times.length; i++) this.times.push(times[i]);
    columns.forEach((column, s) => {
      for (let i = 0; i < column.length; i++) this.values[s].push(column[i]);
    });
  }

  #merge(times, columns) {
    const old = this.length;
    const all = this.times.concat(Array.from(times));
    const order = all.map((_, i) => i).sort((a, b) => all[a] - all[b] || a - b);
    const groups = []; // the row in the result of each row in order
    const merged = [];
    for (const i of order) {
      if (!merged.length || all[i] > merged[merged.length - 1]) merged.push(all[i]);
      groups.push(merged.length - 1);
    }
    this.times = merged;
    this.values = this.values.map((column, s) => {
      const result = new Array(merged.length).fill(null);
      order.forEach((i, at) => {
        const value = i < old ? column[i] : columns[s][i - old];
        if (value !== null) result[groups[at]] = value;
      });
      return result;
    });
  }
}
