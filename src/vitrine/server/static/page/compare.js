// The second view: do two pictures show the same kind of garment?

import * as api from "./api.js";
import { announce, button, element, picture } from "./element.js";
import * as photo from "./photo.js";
import * as states from "./state.js";
import { fixed, language, percent, word } from "./words.js";

/** Draw it into `main`. A side is "photo:KEY" or an item's id, as the page's address has it. */
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
    this.addresses = [];
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
    this.addresses.forEach((address) => URL.revokeObjectURL(address));
  }

  /** A photo came in: for the side that was asked for, or the first that is empty. */
  take(side) {
    const { a, b } = this.page.state;
    const place = this.next ?? (a === null ? "a" : b === null ? "b" : "a");
    this.next = null;
    this.page.go({ [place]: side });
  }

  async show() {
    this.leave();
    const stop = (this.stop = new AbortController());
    const { a, b } = this.page.state;
    const sides = await Promise.all([this.slot("a", a), this.slot("b", b)]);
    if (this.stop !== stop) return;
    if (sides.includes(null)) {
      const text = a !== null && b !== null ? "" : word("compare.text");
      this.verdict.replaceChildren(element("p.soft", {}, text));
      return;
    }
    try {
      this.draw(await api.compare(sides, language(), stop.signal));
    } catch (error) {
      if (error.name !== "AbortError") this.verdict.replaceChildren(element("p.trouble", { role: "alert" }, this.page.sentence(error)));
    }
  }

  /** Draw a side; its photo or id, null where there is none. */
  async slot(side, said) {
    const slot = this.slots[side];
    const choose = button(word("choose"), () => { this.next = side; photo.choose(); });
    const empty = (text) => {
      slot.replaceChildren(element("div.photo", {}, element("p.soft", {}, text)), choose);
      return null;
    };
    if (said === null) return empty(word(`compare.${side}`));
    if (!said.startsWith("photo:")) {
      const id = Number(said);
      slot.replaceChildren(element("div.photo", {}, picture(this.page.thumbnail(id), String(id))), choose);
      return id;
    }
    const file = await states.kept(said.slice(6));
    if (!file) return empty(word("gone"));
    const address = URL.createObjectURL(file);
    this.addresses.push(address);
    slot.replaceChildren(element("div.photo", {}, picture(address, word(`compare.${side}`))), choose);
    return file;
  }

  draw(found) {
    for (const side of ["a", "b"]) {
      const said = element("p", {}, this.page.named(found[side].label), " ", element("span.soft", {}, percent(found[side].probability)));
      this.slots[side].insertBefore(said, this.slots[side].lastChild);
    }
    const same = percent(found.same_probability);
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
