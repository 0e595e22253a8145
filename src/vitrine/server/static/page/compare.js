// The second view: do two pictures show the same kind of garment?

import * as api from "./api.js";
import { announce, button, element, picture } from "./element.js";
import * as photo from "./photo.js";
import * as states from "./state.js";
import { counted, fixed, language, probability as shown, word } from "./words.js";

/** Draw it into `main`. A side is a photo, a part of one, or an item, as the page's address has it: see `states.sideOf`. */
export function compareView(page, main) {
  const view = new Compare(page, main);
  view.show();
  return {
    update: () => {
      view.show();
      return true;
    },
    take: (side) => view.take(side),
    leave: () => view.leave(),
  };
}

class Compare {
  constructor(page, main) {
    this.page = page;
    this.next = null;
    this.shown = { a: undefined, b: undefined };
    this.slots = { a: element("section.slot", { "aria-label": word("compare.a") }), b: element("section.slot", { "aria-label": word("compare.b") }) };
    this.verdict = element("section.verdict", { "aria-live": "polite" });
    for (const [side, slot] of Object.entries(this.slots)) {
      slot.addEventListener("dragenter", () => (this.next = side));
      slot.addEventListener("drop", () => (this.next = side), true);
    }
    main.replaceChildren(element("h1.head.middle", {}, word("compare.title")), element("div.pair", {}, this.slots.a, this.verdict, this.slots.b));
  }

  leave() {
    this.stop?.abort();
    for (const shown of Object.values(this.shown)) this.revoke(shown);
  }

  revoke(shown) {
    if (shown?.address) URL.revokeObjectURL(shown.address);
  }

  /** A photo came in: for the side that was asked for, or the first that is empty. */
  take(side) {
    const { a, b } = this.page.state;
    const place = this.next ?? (a === null ? "a" : b === null ? "b" : "a");
    this.next = null;
    this.page.go({ [place]: side });
  }

  async show() {
    this.stop?.abort();
    const { signal } = (this.stop = new AbortController());
    const { a, b } = this.page.state;
    const sides = await Promise.all([this.side("a", a, signal), this.side("b", b, signal)]);
    if (signal.aborted) return;
    if (sides.includes(null)) {
      const text = a !== null && b !== null ? "" : word("compare.text");
      this.verdict.replaceChildren(element("p.soft", {}, text));
      return;
    }
    try {
      const found = await api.compare(sides, language(), signal);
      if (!signal.aborted) this.draw(found);
    } catch (error) {
      if (!signal.aborted) this.verdict.replaceChildren(element("p.trouble", { role: "alert" }, this.page.sentence(error)));
    }
  }

  /** What is sent of a side, a picture or an id; null where there is none. A side that is drawn already stays. */
  async side(name, said, signal) {
    if (this.shown[name]?.said !== said) {
      const shown = await this.load(said);
      if (signal.aborted) return null;
      this.revoke(this.shown[name]);
      this.shown[name] = { said, ...shown, address: shown.sent instanceof Blob ? URL.createObjectURL(shown.sent) : null };
      this.drawSide(name, this.shown[name]);
    }
    this.shown[name].verdict.textContent = "";
    return this.shown[name].sent;
  }

  /** sent: the picture or id. text: what is said where there is none. */
  async load(said) {
    if (said === null) return { sent: null };
    const { id, key, crop } = states.sideOf(said);
    if (id) return { sent: id };
    const file = await states.kept(key);
    if (!file) return { sent: null, text: word("gone") };
    return { sent: await photo.part(file, crop).catch(() => file) };
  }

  drawSide(name, shown) {
    const { sent, address } = shown;
    const choose = button(word("choose"), () => {
      this.next = name;
      photo.choose();
    });
    const source = address ?? (sent === null ? null : this.page.thumbnail(sent));
    const content = source ? picture(source, address ? word(`compare.${name}`) : String(sent)) : element("p.soft", {}, shown.text ?? word(`compare.${name}`));
    shown.verdict = element("p.is");
    this.slots[name].replaceChildren(element("div.photo", {}, content), shown.verdict, choose);
  }

  draw(found) {
    for (const name of ["a", "b"]) {
      const { label, probability, known } = found[name];
      if (label === null) continue; // the model has no classes
      const text = [this.page.named(label), " ", element("span.soft", {}, shown(probability))];
      if (known === false) text.push(element("span.unknown", {}, counted("unknown", this.page.classes("en").length)));
      this.shown[name].verdict.replaceChildren(...text);
    }
    const same = shown(found.same_probability);
    this.verdict.replaceChildren(
      element("strong", {}, same),
      element("p.soft", {}, word("compare.same")),
      element(
        "dl",
        {},
        element("dt", {}, word(`measure.${found.measure}`)),
        element("dd", {}, fixed(found.score)),
        element("dt", {}, word("compare.distance")),
        element("dd", {}, fixed(found.distance)),
      ),
    );
    announce(`${word("compare.same")}: ${same}`);
  }
}
