// The thumbnails of points: what is in sight and at rest is loaded, some at a time, and what has left is not.

const KEPT = 1500; // pictures
const TOGETHER = 6; // so many are loaded at a time: a browser opens no more connections

/** All of an image, as a plane draws it. */
export const whole = (image) => ({ image, x: 0, y: 0, width: image.naturalWidth ?? image.width, height: image.naturalHeight ?? image.height });

export class Pictures {
  /** address: place of a point -> where its picture is. */
  constructor(address) {
    this.address = address;
    this.came = () => {}; // called when there is a new one
    this.kept = new Map();
    this.pending = new Map();
    this.lost = new Set();
    this.queue = [];
  }

  /** The picture of a point, as a plane draws it; null where it is not there. */
  of(place) {
    return this.kept.get(place) ?? null;
  }

  /** Load the pictures of those places, in this order, and no others. */
  want(places) {
    const wanted = new Set(places);
    for (const [place, image] of this.pending) if (!wanted.has(place)) this.drop(place, image);
    this.queue = places.filter((place) => !this.kept.has(place) && !this.pending.has(place) && !this.lost.has(place));
    this.next();
  }

  /** All of it, as for other points. */
  forget() {
    this.want([]);
    this.kept.clear();
    this.lost.clear();
  }

  /** What could not be loaded may be asked for once more. */
  retry() {
    this.lost.clear();
  }

  next() {
    while (this.queue.length && this.pending.size < TOGETHER) this.load(this.queue.shift());
  }

  load(place) {
    const image = new Image();
    const ended = (there) => {
      if (this.pending.get(place) !== image) return;
      this.pending.delete(place);
      if (there) this.keep(place, image);
      else this.lost.add(place);
      this.next();
    };
    image.onload = () => ended(image.naturalWidth > 0);
    image.onerror = () => ended(false);
    this.pending.set(place, image);
    image.src = this.address(place);
  }

  keep(place, image) {
    if (this.kept.size >= KEPT) this.kept.delete(this.kept.keys().next().value);
    this.kept.set(place, whole(image));
    this.came();
  }

  drop(place, image) {
    this.pending.delete(place);
    image.onload = image.onerror = null;
    image.src = "";
  }
}
