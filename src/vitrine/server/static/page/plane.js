// Many points on a canvas: written pixel by pixel from afar, with their thumbnails near by. Knows no server and no words.
// Lengths and places on the canvas are in pixels of the page; only what is painted knows of the screen's, which are finer.

import { Pictures } from "./pictures.js";

const NEAR = 300; // so few points in sight are shown as pictures
const REACH = 12; // pixels: how far from a point a pointer may be
const CELLS = 128; // on a side of the grid that finds points
const SEEN = 7; // of what is lit, in sight after a flight
const MARGIN = 0.04; // of the smaller side, around all points
const REST = 120; // milliseconds without a movement until thumbnails are asked for
const FINEST = 2; // pixels of the screen to one of the page: more would be slow and not be seen

export class Plane {
  /**
   * canvas: to draw on. points: Float32Array, x and y in turn. colours: of each point, Uint32Array of 0xAABBGGRR.
   * picture: place of a point -> address of its thumbnail.
   */
  constructor(canvas, points, colours, picture) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.pictures = new Pictures(picture, () => this.draw());
    this.lasso = null; // [[x, y], ...], in points' coordinates
    this.marks = []; // [x, y, image or null]
    [this.width, this.height, this.ratio] = [0, 0, 1];
    this.flight = 0;
    this.ground = 0xffffffff;
    this.ink = "#000";
    this.accent = "#0a6";
    this.take(points, colours);
  }

  /** Other points, while one looks to where one looked. */
  take(points, colours) {
    Object.assign(this, { points, colours });
    this.hidden = new Uint8Array(points.length / 2);
    this.lit = new Set();
    this.pictures.forget();
    this.fitBox();
    this.index();
    this.least = this.whole() / 2;
  }

  /** Nothing moves or is loaded any more. */
  stop() {
    this.flight++;
    clearTimeout(this.resting);
    this.pictures.forget();
  }

  get count() {
    return this.points.length / 2;
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

  /** A grid over all points: their places, cell by cell, and where each cell begins. */
  index() {
    const cells = new Uint32Array(this.count);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < this.count; i++) {
      cells[i] = this.cell(this.points[2 * i], this.points[2 * i + 1]);
      this.starts[cells[i] + 1]++;
    }
    for (let cell = 0; cell < CELLS * CELLS; cell++) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.order = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) this.order[next[cells[i]]++] = i;
  }

  column(value, side) {
    return Math.max(0, Math.min(CELLS - 1, Math.floor(((value - this.box[side]) / this.span) * CELLS)));
  }

  cell(x, y) {
    return this.column(y, 1) * CELLS + this.column(x, 0);
  }

  /** Every place of a point whose cell touches the box, in points' coordinates. */
  *within(left, top, right, bottom) {
    const [c0, c1, r0, r1] = [this.column(left, 0), this.column(right, 0), this.column(top, 1), this.column(bottom, 1)];
    for (let row = r0; row <= r1; row++) {
      for (let at = this.starts[row * CELLS + c0]; at < this.starts[row * CELLS + c1 + 1]; at++) yield this.order[at];
    }
  }

  // --- where one looks

  /** The scale at which all of it is in sight. */
  whole() {
    return (Math.min(this.width, this.height) * (1 - 2 * MARGIN)) / this.span;
  }

  /** All of it in sight. */
  reset() {
    this.flight++;
    this.scale = this.whole();
    this.x = this.width / 2 - ((this.box[0] + this.box[2]) / 2) * this.scale;
    this.y = this.height / 2 - ((this.box[1] + this.box[3]) / 2) * this.scale;
    this.least = this.scale / 2;
    this.moved();
  }

  /** ratio: pixels of the screen to one of the page. */
  resize(width, height, ratio = 1) {
    const fine = Math.min(ratio, FINEST);
    if (this.width === width && this.height === height && this.ratio === fine) return;
    const [dx, dy] = [(width - this.width) / 2, (height - this.height) / 2];
    Object.assign(this, { width, height, ratio: fine });
    Object.assign(this.canvas, { width: Math.round(width * fine), height: Math.round(height * fine) });
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    if (this.scale === undefined) this.reset();
    else {
      this.x += dx;
      this.y += dy;
      this.moved();
    }
    this.paint(); // now: a canvas of a new size is black until it is painted
  }

  pan(dx, dy) {
    this.flight++;
    this.x += dx;
    this.y += dy;
    this.moved();
  }

  /** Nearer by that factor, what lies at (x, y) of the canvas staying there. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    this.flight++;
    const scale = Math.max(this.least, Math.min(this.most, this.scale * factor));
    this.x = x - ((x - this.x) / this.scale) * scale;
    this.y = y - ((y - this.y) / this.scale) * scale;
    this.scale = scale;
    this.moved();
  }

  /** Draw, and ask for thumbnails once it rests. */
  moved() {
    clearTimeout(this.resting);
    this.still = false;
    this.resting = setTimeout(() => {
      this.still = true;
      this.pictures.retry();
      this.draw();
    }, REST);
    this.draw();
  }

  /** How near one may come: the nearest neighbours of a place of middling density lie well apart then. */
  get most() {
    return Math.max(4 * this.least, (600 * Math.sqrt(this.count)) / this.span);
  }

  /**
   * Go to (x, y), so near that those places of points that lie next to it are in sight, within that many milliseconds.
   * Done when there, or when something else moved it meanwhile: then it is not there.
   */
  fly(x, y, places = [], milliseconds = 700) {
    const apart = places.map((i) => Math.hypot(this.points[2 * i] - x, this.points[2 * i + 1] - y)).sort((a, b) => a - b);
    const reach = apart[Math.min(apart.length - 1, SEEN)] || this.span / 30;
    const to = Math.max(4 * this.least, Math.min(this.most, (0.42 * Math.min(this.width, this.height)) / reach));
    const from = { scale: this.scale, x: (this.width / 2 - this.x) / this.scale, y: (this.height / 2 - this.y) / this.scale };
    const begin = performance.now();
    const flight = ++this.flight;
    return new Promise((resolve) => {
      const step = () => {
        if (this.flight !== flight) return resolve();
        const part = milliseconds ? Math.min(1, (performance.now() - begin) / milliseconds) : 1;
        const eased = part * part * (3 - 2 * part);
        this.scale = from.scale * (to / from.scale) ** eased;
        this.x = this.width / 2 - (from.x + (x - from.x) * eased) * this.scale;
        this.y = this.height / 2 - (from.y + (y - from.y) * eased) * this.scale;
        this.moved();
        if (part < 1) requestAnimationFrame(step);
        else resolve();
      };
      step();
    });
  }

  /** The place of the point that lies at (x, y) of the canvas, or nearest within reach; -1 for none. */
  at(x, y) {
    const reach = Math.max(REACH, this.near ? this.side / 2 : 0);
    const [mx, my] = this.below(x, y);
    const r = reach / this.scale;
    let best = -1;
    let least = r * r;
    for (const i of this.within(mx - r, my - r, mx + r, my + r)) {
      if (this.hidden[i]) continue;
      const distance = (this.points[2 * i] - mx) ** 2 + (this.points[2 * i + 1] - my) ** 2;
      if (distance < least) [least, best] = [distance, i];
    }
    return best;
  }

  /** What lies at (x, y) of the canvas, in points' coordinates. */
  below(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /** The places of all points inside a line around them: [[x, y], ...], in points' coordinates. */
  inside(line) {
    const [xs, ys] = [line.map(([x]) => x), line.map(([, y]) => y)];
    const [least, most] = [(all) => all.reduce((a, b) => Math.min(a, b)), (all) => all.reduce((a, b) => Math.max(a, b))];
    const found = [];
    for (const i of this.within(least(xs), least(ys), most(xs), most(ys))) {
      if (!this.hidden[i] && enclosed(this.points[2 * i], this.points[2 * i + 1], xs, ys)) found.push(i);
    }
    return found;
  }

  // --- drawing

  /** Draw before the next frame. */
  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      if (this.image) this.paint();
    });
  }

  paint() {
    const { canvas, points, pixels, ratio } = this;
    const [w, h] = [canvas.width, canvas.height];
    const [scale, x, y] = [this.scale * ratio, this.x * ratio, this.y * ratio];
    pixels.fill(this.ground);
    const size = Math.round(ratio * Math.max(2, Math.min(6, Math.round(1.5 * Math.sqrt(this.scale / this.least / 2)))));
    const seen = [];
    let count = 0;
    for (const i of this.within(-x / scale, -y / scale, (w - x) / scale, (h - y) / scale)) {
      if (this.hidden[i]) continue;
      const px = Math.round(points[2 * i] * scale + x - size / 2);
      const py = Math.round(points[2 * i + 1] * scale + y - size / 2);
      if (px < 0 || py < 0 || px + size > w || py + size > h) continue;
      if (count++ < NEAR) seen.push(i);
      const colour = this.colours[i];
      for (let row = py * w + px; row < (py + size) * w + px; row += w) {
        for (let at = row; at < row + size; at++) pixels[at] = colour; // quicker than fill, which is called for each
      }
    }
    this.context.putImageData(this.image, 0, 0);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.near = count <= NEAR && count > 0;
    if (this.still) this.pictures.want(this.near ? this.inward(seen) : []);
    if (this.near) this.paintPictures(seen);
    this.paintLit();
    this.paintMarks();
    this.paintLasso();
  }

  /** Those places of points, the nearest to the middle of the canvas first. */
  inward(places) {
    const [mx, my] = this.below(this.width / 2, this.height / 2);
    const far = (i) => (this.points[2 * i] - mx) ** 2 + (this.points[2 * i + 1] - my) ** 2;
    return [...places].sort((a, b) => far(a) - far(b));
  }

  paintPictures(seen) {
    const area = (this.width * this.height) / Math.max(seen.length, 12);
    this.side = Math.round(Math.max(24, Math.min(96, 0.5 * Math.sqrt(area))));
    for (const i of seen) {
      const image = this.pictures.of(i);
      if (image) this.framed(image, ...this.place(i), this.side, this.colour(i));
    }
  }

  framed(image, px, py, side, colour) {
    const { context } = this;
    const scale = side / Math.max(image.naturalWidth ?? image.width, image.naturalHeight ?? image.height);
    const [w, h] = [(image.naturalWidth ?? image.width) * scale, (image.naturalHeight ?? image.height) * scale];
    context.imageSmoothingEnabled = scale * this.ratio < 1;
    context.fillStyle = colour;
    context.fillRect(px - w / 2 - 2, py - h / 2 - 2, w + 4, h + 4);
    context.drawImage(image, px - w / 2, py - h / 2, w, h);
  }

  place(i) {
    return [this.points[2 * i] * this.scale + this.x, this.points[2 * i + 1] * this.scale + this.y];
  }

  colour(i) {
    const value = this.colours[i];
    return `rgb(${value & 255} ${(value >> 8) & 255} ${(value >> 16) & 255})`;
  }

  paintLit() {
    const { context } = this;
    context.lineWidth = 3;
    context.strokeStyle = this.ink;
    for (const i of this.lit) {
      const [px, py] = this.place(i);
      context.beginPath();
      context.arc(px, py, this.near ? this.side * 0.6 : 5, 0, 7);
      context.stroke();
    }
  }

  paintMarks() {
    const { context } = this;
    for (const [mx, my, image] of this.marks) {
      const [px, py] = [mx * this.scale + this.x, my * this.scale + this.y];
      if (image) this.framed(image, px, py, 72, this.accent);
      else {
        context.fillStyle = this.accent;
        context.fillRect(px - 6, py - 6, 12, 12);
      }
    }
  }

  paintLasso() {
    if (!this.lasso?.length) return;
    const { context } = this;
    context.beginPath();
    for (const [mx, my] of this.lasso) context.lineTo(mx * this.scale + this.x, my * this.scale + this.y);
    context.closePath();
    context.strokeStyle = this.accent;
    context.lineWidth = 2;
    context.stroke();
    context.globalAlpha = 0.15;
    context.fillStyle = this.accent;
    context.fill();
    context.globalAlpha = 1;
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
