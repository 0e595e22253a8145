// What was asked about, beside the answer: a photo with the box in it and what it shows, or an item.

import * as api from "./api.js";
import { bar, button, element, picture } from "./element.js";
import * as photo from "./photo.js";
import { header } from "./png.js";
import { Why } from "./why.js";
import { counted, language, probability, word } from "./words.js";

/** Which subject a state has; its box is no part of that. */
export const keyOf = (state) => (state.photo === null ? String(state.like[0]) : `photo:${state.photo}`);

export class Subject {
  /** add: called when the photo is to be added to the collection. */
  constructor(page, add) {
    this.page = page;
    this.add = add;
    this.key = null;
    this.place = element("div.asked");
  }

  /** Show the subject of a state. whole: its photo, or null. Where only the box is another, the picture stays. */
  async show(state, whole, signal) {
    if (this.key === keyOf(state)) return this.narrow(state.crop);
    const item = whole ? null : await api.item(state.like[0], signal);
    if (signal.aborted) return;
    this.leave();
    this.key = keyOf(state);
    if (whole) this.drawPhoto(whole, state.crop);
    else this.drawItem(item);
  }

  /** Another one was asked for that cannot be shown. */
  refuse(state) {
    if (this.key === keyOf(state)) return;
    this.leave();
    this.place.replaceChildren(this.others());
  }

  leave() {
    this.key = null;
    this.box?.stop();
    this.why?.hide();
    this.box = this.why = this.prediction = this.heading = null;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
  }

  /** Begin reading here, unless somebody is elsewhere on the page. */
  focus() {
    const at = document.activeElement;
    if (at !== document.body && !document.getElementById("main").contains(at)) return;
    this.heading?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  narrow(crop) {
    this.box?.setBox(crop);
    this.why?.about(crop);
    if (this.whole) this.whole.hidden = !crop;
  }

  others() {
    return element("div.row", {}, button(word("choose"), photo.choose), button(word("take"), photo.take));
  }

  drawPhoto(whole, crop) {
    const { page } = this;
    this.address = URL.createObjectURL(whole);
    this.heading = element("h2", { tabindex: "-1" }, word("asked"));
    this.prediction = element("div", { "aria-live": "polite" });
    const image = picture(this.address, word("asked"));
    this.box = photo.cropper(image, crop, { crop: word("crop") }, (crop) => page.go({ crop }));
    this.why = page.classes(language()).length ? new Why(page, whole, crop, this.box.frame) : null;
    this.saw = element("div");
    const off = () => {
      this.box.frame.focus();
      page.go({ crop: null });
    };
    this.whole = button(word("crop.off"), off, { kind: "quiet" });
    this.whole.hidden = !crop;
    const add = page.writable() ? button(word("add"), this.add) : null;
    add?.classList.add("writes");
    this.place.replaceChildren(
      element("div.photo", {}, image, this.box.frame),
      this.heading,
      element("p.soft.small", {}, word("crop.tip"), " ", this.finger(), this.whole),
      this.why?.place ?? "",
      this.prediction,
      this.saw,
      element("div.row", {}, this.others(), add),
    );
  }

  /** For fingers, which else would no longer scroll the page: from now on they draw, or no longer do. */
  finger() {
    const { arm } = this.box;
    const toggle = button(
      word("crop.begin"),
      () => {
        const armed = toggle.getAttribute("aria-pressed") !== "true";
        toggle.setAttribute("aria-pressed", String(armed));
        arm(armed);
      },
      { kind: "finger", pressed: "false" },
    );
    return toggle;
  }

  drawItem(item) {
    const { page } = this;
    const facts = Object.entries(item.columns ?? {}).map(([name, value]) => element("li", {}, `${name}: ${value}`));
    const image = picture(item.original ? api.original(item.id) : page.thumbnail(item.id), page.named(item.label));
    this.heading = element("h2", { tabindex: "-1" }, page.named(item.label));
    this.place.replaceChildren(
      element("div.photo", {}, image),
      element("div", {}, element("h3", {}, word("fromItem")), this.heading, element("p.soft.small", {}, `${item.id} · ${item.source}`), element("ul.small", {}, facts)),
      this.others(),
    );
  }

  /** The classes, the likeliest first; above them, where it is so, that it is none of them. learnt: those taught later. */
  names({ probabilities, known }, learnt) {
    const { classes } = this.page.model; // the same ten, where the answer is another model's
    const names = [...(classes[language()] ?? classes.en), ...learnt];
    const order = probabilities.map((share, index) => [share, index]).sort((a, b) => b[0] - a[0]).slice(0, 10);
    const lines = order.map(([share, index]) => element("li", {}, element("span", { title: names[index] }, names[index]), bar(share), element("b", {}, probability(share))));
    return known === false
      ? [element("p.unknown", {}, counted("unknown", names.length)), element("h3", {}, word("nearest")), element("ol.names.doubtful", {}, lines)]
      : [element("h3", {}, word("probabilities")), element("ol.names", {}, lines)];
  }

  /** What the photo shows, and what the model saw of it, by the server's answer. */
  drawPrediction({ prediction, input, learnt }) {
    const { height, width, colour } = header(input); // not of the catalogue's model: a photo may have been shown to another
    this.prediction.replaceChildren(...(prediction ? this.names(prediction, learnt) : []));
    if (this.why) this.why.place.hidden = !prediction;
    this.saw.replaceChildren(
      element(
        "div.saw",
        {},
        element("img", { src: input, alt: word("saw") }),
        element("div", {}, element("h3", {}, word("saw")), element("p.soft.small", {}, word(colour ? "saw.colour" : "saw.text", { size: `${width}×${height}` }))),
      ),
    );
  }
}
