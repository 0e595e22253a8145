// Beside the map: what its colours mean, and which classes are shown.

import { classColour, shareScale } from "../canvas/colours.js";
import { element } from "./element.js";
import { counted, number, percent, word } from "./words.js";

const STEPS = 16; // of the scale: 15 neighbours agree, or 14, ...
const BY = ["class", "confidence"];

/** What a class is called here, however it is numbered on another map. */
const keyOf = (name) => (name === null ? "none" : typeof name === "object" ? "others" : `=${name}`);

/** As `classColour` asks for it. */
export const kindOf = (name) => (name === null ? "none" : typeof name === "object" ? "others" : "class");

export class Legend {
  /** named: a label -> its name in the language of the page. changed: called when other classes are shown. coloured: by
   * what from now on. */
  constructor({ named, changed, coloured }) {
    Object.assign(this, { named, changed, names: [] });
    this.off = new Set(); // classes, by key
    this.list = element("ul.legend");
    this.low = element("span");
    this.high = element("span");
    this.bar = element("div.shares", { "aria-hidden": "true" });
    this.scale = element("div.scale", { hidden: true }, element("p", {}, word("map.confidence.text")), this.bar, element("p.ends", {}, this.low, this.high));
    this.choices = BY.map((by) => element("input", { type: "radio", name: "colour", value: by, onchange: () => coloured(by) }));
    const choice = (input) => element("label", {}, input, word(`map.by.${input.value}`));
    this.by = element("fieldset.by", { hidden: true }, element("legend", {}, word("map.by")), ...this.choices.map(choice));
    this.place = element("div.key", { hidden: true }, this.by, this.scale, this.list);
  }

  /**
   * What there is. names: of the classes. counts: Map of the number of each class that is there to how many it has. by:
   * what colours mean, "class" or "confidence". sure: whether both can be had. dark: the ground.
   */
  show({ names, counts, by, sure, dark }) {
    this.names = names;
    this.place.hidden = false;
    this.by.hidden = !sure;
    this.scale.hidden = by !== "confidence";
    for (const choice of this.choices) choice.checked = choice.value === by;
    [this.low.textContent, this.high.textContent] = [percent(0), percent(1)];
    this.bar.style.background = `linear-gradient(to right, ${shareScale(STEPS, dark).join(", ")})`;
    const last = (label) => Number(kindOf(names[label]) !== "class");
    const order = ([a], [b]) => last(a) - last(b) || (last(a) ? a - b : this.name(a).localeCompare(this.name(b)));
    this.list.replaceChildren(...[...counts].sort(order).map(([label, count]) => element("li", {}, this.line(label, count, by))));
  }

  line(label, count, by) {
    const dot = element("i");
    if (by === "class") dot.style.background = classColour(label, kindOf(this.names[label]));
    const key = keyOf(this.names[label]);
    const line = element("button", { type: "button", "aria-pressed": String(!this.off.has(key)) }, dot, element("span", {}, this.name(label)), element("b", {}, number(count)));
    line.addEventListener("click", () => {
      if (!this.off.delete(key)) this.off.add(key);
      line.setAttribute("aria-pressed", String(!this.off.has(key)));
      this.changed();
    });
    return line;
  }

  /** What class number so and so is called. */
  name(label) {
    const name = this.names[label];
    if (name === null) return word("noClass");
    return typeof name === "object" ? counted("map.others", name.others) : this.named(name);
  }

  /** Of each class, by number, whether it is shown. */
  shown() {
    return this.names.map((name) => !this.off.has(keyOf(name)));
  }
}
