// Many points on a canvas: written pixel by pixel from afar, with their thumbnails near by. Knows no server and no words.
// Lengths and places on the canvas are in pixels of the page; only what is painted knows of the screen's, which are finer.

import { packed } from "./colours.js";
import { Grid } from "./grid.js";

const NEAR = 300; // so few points in sight are shown as pictures
const REACH = 12; // pixels: how far from a point a pointer may be
const SEEN = 7; // of what is lit, in sight after a flight
const MARGIN = 0.04; // of the smaller side, around all points
const REST = 120; // milliseconds without a movement until thumbnails are asked for
const FINEST = 2; // pixels of the screen to one of the page: more would be slow and not be seen

export class Plane {
  /**
   * canvas: to draw on. pictures: the points' thumbnails, or null: `of` (place of a point) -> what `framed` draws, or null;
   * `want` (places), `retry`, `forget`, and `came`, which is set here.
   */
  constructor(canvas, pictures) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.pictures = pictures;
    if (pictures) pictures.came = () => this.draw();
    this.lasso = null; // [[x, y], ...], in points' coordinates
    this.marks = []; // [x, y, picture or null]
    [this.width, this.height, this.ratio] = [0, 0, 1];
    this.flight = 0;
    [this.ground, this.gap] = [0xffffffff, "#ffffff"]; // the same, as either side has it
    this.ink = "#000";
    this.accent = "#0a6";
  }

  /**
   * These points, while one looks to where one looked. points: Float32Array, x and y in turn, y downwards. colours: of
   * each, Uint32Array of 0xAABBGGRR. sequence: the places in the order in which they are painted, null for any.
   */
  take(points, colours, sequence = null) {
    Object.assign(this, { points, colours });
    this.hidden = new Uint8Array(points.length / 2);
    this.lit = new Set();
    this.pictures?.forget();
    this.grid = new Grid(points, sequence);
    this.least = this.whole() / 2;
  }

  /** Other colours for the same points. */
  colour(colours, sequence = null) {
    this.colours = colours;
    this.grid.sort(sequence);
    this.draw();
  }

  /** Nothing moves or is loaded any more. */
  stop() {
    this.flight++;
    clearTimeout(this.resting);
    this.pictures?.forget();
  }

  /** The colours of the theme: as CSS has them, #rrggbb. */
  paper({ ground, ink, accent }) {
    Object.assign(this, { ground: packed(ground), gap: ground, ink, accent });
    this.dark = Number.parseInt(ground.slice(3, 5), 16) < 128;
    if (this.points) this.draw();
  }

  // --- where one looks

  /** The scale at which all of it is in sight. */
  whole() {
    return (Math.min(this.width, this.height) * (1 - 2 * MARGIN)) / this.grid.span;
  }

  /** All of it in sight. */
  reset() {
    const { box } = this.grid;
    this.flight++;
    this.scale = this.whole();
    this.x = this.width / 2 - ((box[0] + box[2]) / 2) * this.scale;
    this.y = this.height / 2 - ((box[1] + box[3]) / 2) * this.scale;
    this.least = this.scale / 2;
    this.moved();
    this.untouched = true;
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
    if (this.scale === undefined || this.untouched) this.reset();
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
    this.still = this.untouched = false;
    this.resting = setTimeout(() => {
      this.still = true;
      this.pictures?.retry();
      this.draw();
    }, REST);
    this.draw();
  }

  /** How near one may come: the nearest neighbours of a place of middling density lie well apart then. */
  get most() {
    return Math.max(4 * this.least, (600 * Math.sqrt(this.grid.count)) / this.grid.span);
  }

  /**
   * Go to (x, y), so near that those places of points that lie next to it are in sight, within that many milliseconds.
   * Done when there, or when something else moved it meanwhile: then it is not there.
   */
  fly(x, y, places = [], milliseconds = 700) {
    const apart = places.map((i) => Math.hypot(this.points[2 * i] - x, this.points[2 * i + 1] - y)).sort((a, b) => a - b);
    const reach = apart[Math.min(apart.length - 1, SEEN)] || this.grid.span / 30;
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
    return this.grid.nearest(...this.below(x, y), reach / this.scale, this.hidden);
  }

  /** What lies at (x, y) of the canvas, in points' coordinates. */
  below(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /** The places of all points inside a line around them: [[x, y], ...], in points' coordinates. */
  inside(line) {
    return this.grid.inside(line, this.hidden);
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
    const size = Math.round(ratio * this.dot());
    const seen = [];
    let count = 0;
    for (const i of this.grid.within(-x / scale, -y / scale, (w - x) / scale, (h - y) / scale)) {
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
    this.near = this.pictures !== null && count <= NEAR && count > 0;
    if (this.still) this.pictures?.want(this.near ? this.inward(seen) : []);
    if (this.near) this.paintPictures(seen);
    this.paintLit();
    this.paintMarks();
    this.paintLasso();
  }

  /** How large a dot is, in pixels: larger near by, and where there are few. */
  dot() {
    const few = Math.min(3, (20000 / this.grid.count) ** 0.25);
    return Math.max(2, Math.min(6, Math.round(1.5 * few * Math.sqrt(this.scale / this.least / 2))));
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
      const picture = this.pictures.of(i);
      if (picture) this.framed(picture, ...this.place(i), this.side, cssOf(this.colours[i]));
    }
  }

  /** picture: an image, or the part of one: {image, x, y, width, height}. */
  framed(picture, px, py, side, colour) {
    const { context } = this;
    const scale = side / Math.max(picture.width, picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    context.imageSmoothingEnabled = scale * this.ratio < 1;
    context.fillStyle = colour;
    context.fillRect(px - w / 2 - 4, py - h / 2 - 4, w + 8, h + 8);
    context.fillStyle = this.gap; // a dark frame must not melt into a dark picture
    context.fillRect(px - w / 2 - 1, py - h / 2 - 1, w + 2, h + 2);
    context.drawImage(picture.image, picture.x, picture.y, picture.width, picture.height, px - w / 2, py - h / 2, w, h);
  }

  place(i) {
    return [this.points[2 * i] * this.scale + this.x, this.points[2 * i + 1] * this.scale + this.y];
  }

  paintLit() {
    const { context } = this;
    context.lineWidth = 3;
    context.strokeStyle = this.ink;
    for (const i of this.lit) {
      if (this.hidden[i]) continue;
      const [px, py] = this.place(i);
      context.beginPath();
      context.arc(px, py, this.near ? this.side * 0.6 : 5, 0, 7);
      context.stroke();
    }
  }

  paintMarks() {
    const { context } = this;
    for (const [mx, my, picture] of this.marks) {
      const [px, py] = [mx * this.scale + this.x, my * this.scale + this.y];
      if (picture) this.framed(picture, px, py, 72, this.accent);
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

/** A packed colour as CSS has it. */
function cssOf(value) {
  return `rgb(${value & 255} ${(value >> 8) & 255} ${(value >> 16) & 255})`;
}
