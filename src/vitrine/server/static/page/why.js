// Why the model says so: where it looked, as heat over the photo, and in words.

import * as api from "./api.js";
import { button, element } from "./element.js";
import * as photo from "./photo.js";
import { language, word } from "./words.js";

export class Why {
  /** whole: the photo. crop: the part of it that is asked about, or null. frame: an element that lies exactly over it. */
  constructor(page, whole, crop, frame) {
    Object.assign(this, { page, whole, crop, frame, stop: null, heat: null });
    this.toggle = button(word("why"), () => (this.stop ? this.hide() : this.show()), { pressed: "false" });
    this.said = element("p.soft.small", { role: "status" });
    this.place = element("div.why", { hidden: true }, this.toggle, this.said);
  }

  /** Another part of the photo is asked about, or still the same: then what is shown stays. */
  about(crop) {
    if (String(crop) === String(this.crop)) return;
    this.hide();
    this.crop = crop;
  }

  hide(sentence = "") {
    this.stop?.abort();
    this.heat?.remove();
    this.stop = this.heat = null;
    this.toggle.setAttribute("aria-pressed", "false");
    this.said.textContent = sentence;
  }

  async show() {
    const { signal } = (this.stop = new AbortController());
    this.toggle.setAttribute("aria-pressed", "true");
    this.said.textContent = word("why.wait");
    try {
      const asked = await photo.part(this.whole, this.crop).catch(() => this.whole);
      if (signal.aborted) return;
      const { heat, label, known } = await api.explain(asked, language(), signal);
      const image = element("img.heat", { src: heat, alt: "", draggable: "false" });
      await image.decode();
      if (signal.aborted) return;
      this.lay(image);
      const place = mostly(image);
      const sentence = known === false ? "why.unknown" : "why.said";
      this.said.textContent = place === null ? word("why.nowhere") : word(sentence, { label, place: word(`why.${place}`) });
    } catch (error) {
      if (!signal.aborted) this.hide(this.page.sentence(error));
    }
  }

  /** Lay the heat over the part that was asked about. */
  lay(image) {
    const [x, y, w, h] = this.crop ?? [0, 0, 1, 1];
    Object.entries({ left: x, top: y, width: w, height: h }).forEach(([side, share]) => (image.style[side] = `${100 * share}%`));
    this.heat = image;
    this.frame.prepend(image);
  }
}

/** In which ninth of a picture most of its heat lies, 0 to 8, row by row; null where there is none. */
function mostly(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const brush = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  brush.drawImage(image, 0, 0);
  const { data } = brush.getImageData(0, 0, width, height);
  const ninths = new Array(9).fill(0);
  for (let at = 0; at < width * height; at += 1) {
    const [row, column] = [Math.floor((3 * Math.floor(at / width)) / height), Math.floor((3 * (at % width)) / width)];
    ninths[3 * row + column] += data[4 * at + 3] ** 2; // as the eye goes to what is brightest
  }
  const most = Math.max(...ninths);
  return most ? ninths.indexOf(most) : null;
}
