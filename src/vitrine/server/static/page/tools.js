// What an answer is narrowed by: how much alike, and of which class.

import { element } from "./element.js";
import { fixed, word } from "./words.js";

/** Made once; `show` has them say what a state says, but never under somebody's hand. */
export class Tools {
  constructor(page) {
    this.page = page;
    this.heading = element("h1.head", { tabindex: "-1" }, word("likes"));
    this.output = element("output");
    this.slider = element("input", { type: "range", min: 0, max: 1, step: 0.01, oninput: () => this.slide() });
    this.slider.addEventListener("pointerdown", () => (this.held = true));
    for (const end of ["pointerup", "pointercancel"]) this.slider.addEventListener(end, () => (this.held = false));
    this.choice = element("select", { onchange: () => page.go({ label: this.choice.value || null }) });
    this.list();
    this.place = element(
      "div.tools",
      {},
      this.heading,
      element("label", {}, word("threshold"), this.slider, this.output),
      element("label", {}, element("span.unseen", {}, word("class")), this.choice),
    );
  }

  /** The classes that there are now. */
  list() {
    const { page } = this;
    const labels = new Set(Object.keys(page.catalogue.label_counts));
    if (page.state.label) labels.add(page.state.label); // of a link: one that is gone finds nothing, but is said
    this.choice.replaceChildren(
      element("option", { value: "" }, word("all")),
      ...[...labels].sort().map((label) => element("option", { value: label }, page.named(label))),
    );
    this.choice.value = page.state.label ?? "";
  }

  show({ threshold, label }) {
    this.choice.value = label ?? "";
    if (this.choice.selectedIndex < 0) this.list();
    if (this.held || this.sliding) return;
    this.slider.value = threshold;
    this.output.textContent = fixed(threshold, 2);
  }

  slide() {
    const threshold = Number(this.slider.value);
    this.output.textContent = fixed(threshold, 2);
    clearTimeout(this.sliding);
    this.sliding = setTimeout(() => {
      this.sliding = null;
      this.page.go({ threshold }, true);
    }, 120);
  }

  leave() {
    clearTimeout(this.sliding);
  }
}
