// The thumbnails of points out of a few large pictures that lie in the page, read when they are first needed.

export class Sheets {
  /** side: pixels of a thumbnail; across: how many a side of a sheet; address: number of a sheet -> where it is. */
  constructor(side, across, address) {
    Object.assign(this, { side, across, address });
    this.kept = new Map();
    this.came = () => {}; // called when there is a new one
  }

  /** The picture of a point, as a plane draws it; null where it is not there yet. */
  of(place) {
    const each = this.across ** 2;
    const image = this.sheet(Math.floor(place / each));
    if (!image.complete || !image.naturalWidth) return null;
    const { side } = this;
    const [row, column] = [Math.floor((place % each) / this.across), place % this.across];
    return { image, x: column * side, y: row * side, width: side, height: side };
  }

  sheet(number) {
    if (!this.kept.has(number)) {
      const image = new Image();
      image.onload = () => this.came();
      image.src = this.address(number);
      this.kept.set(number, image);
    }
    return this.kept.get(number);
  }

  /** They are in the page already, and stay: nothing to load, to ask again for, or to throw away. */
  want() {}
  retry() {}
  forget() {}
}
