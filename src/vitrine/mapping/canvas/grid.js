// Points of a plane, and a grid over them by which those are found that lie somewhere.

const CELLS = 128; // on a side of the grid

export class Grid {
  /**
   * points: Float32Array, x and y in turn. sequence: places of all points, in the order in which those of a cell are
   * told; null for that of the points.
   */
  constructor(points, sequence = null) {
    this.points = points;
    this.count = points.length / 2;
    this.fitBox();
    this.sort(sequence);
  }

  fitBox() {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < this.points.length; i += 2) {
      box[0] = Math.min(box[0], this.points[i]);
      box[1] = Math.min(box[1], this.points[i + 1]);
      box[2] = Math.max(box[2], this.points[i]);
      box[3] = Math.max(box[3], this.points[i + 1]);
    }
    this.box = box;
    this.span = Math.max(box[2] - box[0], box[3] - box[1]) || 1;
  }

  /** Put the places in order, cell by cell, and note where each cell begins. */
  sort(sequence) {
    const cells = new Uint32Array(this.count);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < this.count; i++) {
      cells[i] = this.row(this.points[2 * i + 1]) * CELLS + this.column(this.points[2 * i]);
      this.starts[cells[i] + 1]++;
    }
    for (let cell = 0; cell < CELLS * CELLS; cell++) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.order = new Uint32Array(this.count);
    for (let n = 0; n < this.count; n++) {
      const i = sequence ? sequence[n] : n;
      this.order[next[cells[i]]++] = i;
    }
  }

  column(x) {
    return this.cell(x - this.box[0]);
  }

  row(y) {
    return this.cell(y - this.box[1]);
  }

  cell(offset) {
    return Math.max(0, Math.min(CELLS - 1, Math.floor((offset / this.span) * CELLS)));
  }

  /** Every place of a point whose cell touches the box. */
  *within(left, top, right, bottom) {
    const [c0, c1, r0, r1] = [this.column(left), this.column(right), this.row(top), this.row(bottom)];
    for (let row = r0; row <= r1; row++) {
      for (let at = this.starts[row * CELLS + c0]; at < this.starts[row * CELLS + c1 + 1]; at++) yield this.order[at];
    }
  }

  /** The place of the point nearest to (x, y) within that reach, of those that are not hidden; -1 for none. */
  nearest(x, y, reach, hidden) {
    let best = -1;
    let least = reach * reach;
    for (const i of this.within(x - reach, y - reach, x + reach, y + reach)) {
      if (hidden[i]) continue;
      const distance = (this.points[2 * i] - x) ** 2 + (this.points[2 * i + 1] - y) ** 2;
      if (distance < least) [least, best] = [distance, i];
    }
    return best;
  }

  /** The places of all points inside a line around them, [[x, y], ...], that are not hidden. */
  inside(line, hidden) {
    const [xs, ys] = [line.map(([x]) => x), line.map(([, y]) => y)];
    const [least, most] = [(all) => all.reduce((a, b) => Math.min(a, b)), (all) => all.reduce((a, b) => Math.max(a, b))];
    const found = [];
    for (const i of this.within(least(xs), least(ys), most(xs), most(ys))) {
      if (!hidden[i] && enclosed(this.points[2 * i], this.points[2 * i + 1], xs, ys)) found.push(i);
    }
    return found;
  }
}

/** Whether (x, y) lies inside of the line: how often a ray from it crosses that. */
function enclosed(x, y, xs, ys) {
  let inside = false;
  for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
    if (ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) inside = !inside;
  }
  return inside;
}
