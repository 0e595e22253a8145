// The third view: the whole collection, alike beside alike.

import { byClass, byConfidence } from "../canvas/colours.js";
import { hands } from "../canvas/hands.js";
import { Pictures, whole } from "../canvas/pictures.js";
import { Plane } from "../canvas/plane.js";
import * as api from "./api.js";
import { announce, button, element, picture } from "./element.js";
import { kindOf, Legend } from "./legend.js";
import * as photo from "./photo.js";
import { Picked } from "./picked.js";
import * as states from "./state.js";
import { counted, percent, word } from "./words.js";

const SOON = 2000; // milliseconds until a map that is being computed is asked for again
const NEWER = 3000; // until it is asked for a newer one
const FLIGHT = 900;

/** Draw it into `main`. */
export function mapView(page, main) {
  const view = new MapView(page, main);
  view.load();
  return {
    update: () => {
      view.colour();
      view.follow();
      return true;
    },
    leave: () => view.leave(),
    take: (side) => page.go({ photo: side.slice(6), crop: null, like: [], unlike: [] }),
  };
}

class MapView {
  constructor(page, main) {
    this.page = page;
    this.removed = new Set(); // ids
    this.only = null; // ids of what alone is shown
    this.canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": word("map.keys"), hidden: true });
    this.legend = new Legend({ named: (label) => page.named(label), changed: () => this.veil(), coloured: (by) => page.go({ colour: by }, true) });
    this.tip = element("div.tip", { hidden: true });
    this.picked = new Picked(this);
    this.said = element("p.said-over", { role: "status" });
    this.lassoing = button(word("map.lasso"), () => this.toggleLasso(), { pressed: "false" });
    this.back = button("", () => this.showOnly(null), { kind: "first" });
    this.back.hidden = true;
    this.tools = element(
      "div.over",
      { hidden: true },
      button(word("map.nearer"), () => this.plane?.zoom(1.6), { sign: "+" }),
      button(word("map.farther"), () => this.plane?.zoom(1 / 1.6), { sign: "−" }),
      button(word("map.all"), () => this.plane?.reset()),
      this.lassoing,
      this.back,
    );
    this.frame = element("div.plane", {}, this.canvas, this.tools, this.legend.place, this.tip, this.said);
    main.replaceChildren(element("h1.unseen", {}, word("nav.map")), element("div.mapped", {}, this.frame, this.picked.place));
    this.stop = new AbortController();
  }

  leave() {
    this.stop.abort();
    this.loading?.abort();
    this.question?.abort();
    clearTimeout(this.again);
    this.resizing?.disconnect();
    this.themed?.disconnect();
    this.plane?.stop();
  }

  /** Get the map, and ask again until it is that of now; while there is none, say how far that is. */
  async load() {
    this.loading?.abort();
    this.loading = new AbortController();
    clearTimeout(this.again);
    try {
      const found = await api.map(this.loading.signal, this.tag);
      if (found?.progress !== undefined) {
        this.say(word("map.computing", { share: percent(found.progress) }));
        return this.loadAgain(SOON);
      }
      if (found) this.show(found);
      if (!this.current) this.loadAgain(NEWER);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!this.plane) this.say(this.page.sentence(error));
      if (error.status === 503) this.loadAgain(error.after ? 1000 * error.after : NEWER);
    }
  }

  loadAgain(milliseconds) {
    if (!this.stop.signal.aborted) this.again = setTimeout(() => this.load(), milliseconds);
  }

  say(text) {
    this.said.textContent = text;
  }

  /** Another map, in place of the one before if there is one. */
  show({ ids, labels, names, texts, points: upwards, sure, current, tag }) {
    const points = upwards.map((value, at) => (at % 2 ? -value : value)); // on a canvas y goes down
    const before = this.plane && { ids: this.ids, points: this.plane.points };
    Object.assign(this, { ids, labels, names, texts, sure, current, tag });
    this.placeOf = new Map();
    ids.forEach((id, place) => this.placeOf.set(id, place));
    if (before) this.swap(before, points);
    else this.begin(points);
  }

  begin(points) {
    this.say("");
    this.frame.classList.add("ready");
    for (const part of [this.canvas, this.tools]) part.hidden = false;
    this.plane = new Plane(this.canvas, new Pictures((place) => this.page.thumbnail(this.ids[place])));
    this.paper();
    this.plane.take(points, ...this.colours());
    this.themed = new MutationObserver(() => this.themedAnew());
    this.themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.themedAnew(), { signal: this.stop.signal });
    this.resizing = new ResizeObserver(() => this.fit());
    this.resizing.observe(this.frame);
    this.drawLegend();
    this.veil();
    this.listen();
    this.fit();
    this.follow();
  }

  /** Newer points, while one looks to where one looked. A line that was drawn stays if what lay within it does. */
  swap(before, points) {
    const { plane } = this;
    const moved = before.ids.some((id, place) => {
      const now = this.placeOf.get(id);
      return now !== undefined && (points[2 * now] !== before.points[2 * place] || points[2 * now + 1] !== before.points[2 * place + 1]);
    });
    const lit = [...plane.lit].map((place) => before.ids[place]);
    this.hide();
    plane.take(points, ...this.colours());
    plane.lit = this.placesOf(lit);
    if (moved) plane.lasso = null;
    this.drawLegend();
    this.veil();
    this.nameBack();
    this.asked = null;
    this.follow(false);
  }

  /** Where those items are, as far as they are on the map. */
  placesOf(ids) {
    return new Set(ids.map((id) => this.placeOf.get(id)).filter((place) => place !== undefined));
  }

  fit() {
    const { clientWidth, clientHeight } = this.frame;
    if (clientWidth && clientHeight) this.plane.resize(clientWidth, clientHeight, devicePixelRatio);
  }

  /** The colours of the theme. */
  paper() {
    const style = getComputedStyle(document.documentElement);
    const [ground, ink, accent] = ["--card", "--ink", "--accent"].map((name) => style.getPropertyValue(name).trim());
    this.plane.paper({ ground, ink, accent });
  }

  themedAnew() {
    this.paper();
    this.painted = null;
    this.colour();
  }

  // --- what colours mean

  /** By what the points are coloured: "class" or "confidence". */
  get by() {
    return this.sure ? this.page.state.colour : "class";
  }

  /** The colours of all points, and the order to paint them in. */
  colours() {
    this.painted = this.by;
    if (this.by === "class") return [byClass(this.labels, this.names.map(kindOf))];
    const { colours, sequence } = byConfidence(this.sure, this.plane.dark);
    return [colours, sequence];
  }

  /** Colour it as the state says. */
  colour() {
    if (!this.plane || this.painted === this.by) return;
    this.plane.colour(...this.colours());
    this.drawLegend();
  }

  // --- what is asked, on the map

  /** Light up what the search finds, and let a photo fly to its place. flying: false where it is known already. */
  async follow(flying = true) {
    const { page, plane } = this;
    if (!plane) return;
    const { photo: key, crop, like, unlike, threshold, label } = page.state;
    const asked = JSON.stringify([key, crop, like, unlike, threshold, label]);
    if (asked === this.asked) return;
    this.asked = asked;
    this.question?.abort();
    this.question = new AbortController();
    const { signal } = this.question;
    this.say("");
    if (flying) this.light([], []);
    try {
      const file = key ? await states.kept(key) : null;
      if (key && !file) this.say(word("gone"));
      if (!file && !like.length) return;
      const shown = file && (await photo.part(file, crop).catch(() => file));
      const query = { photo: shown, like, unlike, k: states.PAGE, threshold: threshold || null, where: states.where(label), lang: "en" };
      const [found, place] = await Promise.all([api.search(query, signal), shown ? api.place(shown, signal) : null]);
      const image = shown && (await createImageBitmap(shown).catch(() => null));
      if (signal.aborted) return;
      this.light(found.matches.map((match) => match.id), place ? [[place.x, -place.y, image && whole(image)]] : []);
      await this.goTo(place, like, flying);
      if (!signal.aborted) announce(counted("found", found.matches.length));
    } catch (error) {
      if (!signal.aborted) this.say(page.sentence(error));
    }
  }

  light(ids, marks) {
    this.plane.lit = this.placesOf(ids);
    this.plane.marks = marks;
    this.plane.draw();
  }

  /** To where the photo is, or the first of the items that were asked for; that is lit, too. */
  async goTo(place, like, flying) {
    const { plane } = this;
    const near = [...plane.lit];
    const first = place ? undefined : this.placeOf.get(like[0]);
    if (first !== undefined) plane.lit.add(first);
    const [x, y] = place ? [place.x, -place.y] : first === undefined ? [] : plane.points.subarray(2 * first, 2 * first + 2);
    plane.draw();
    if (x === undefined || !flying) return;
    await plane.fly(x, y, near, matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : FLIGHT);
  }

  drawLegend() {
    const counts = new Map();
    this.labels.forEach((label, place) => {
      if (this.there(this.ids[place])) counts.set(label, (counts.get(label) ?? 0) + 1);
    });
    this.legend.show({ names: this.names, counts, by: this.by, sure: this.sure !== null, dark: this.plane.dark });
  }

  /** Whether that item is there to be shown. */
  there(id) {
    return !this.removed.has(id) && (this.only === null || this.only.has(id));
  }

  /** Hide what is switched off, what was removed, and what is not among those that alone are shown. */
  veil() {
    const shown = this.legend.shown();
    this.labels.forEach((label, place) => (this.plane.hidden[place] = Number(!shown[label] || !this.there(this.ids[place]))));
    this.plane.draw();
  }

  /** Show these items and no others; null for all again. */
  showOnly(ids) {
    this.only = ids && new Set(ids);
    this.nameBack();
    this.picked.drop();
    this.hide();
    this.drawLegend();
    this.veil();
    (ids ? this.back : this.lassoing).focus();
  }

  /** The way back to all of them says how many are shown. */
  nameBack() {
    this.back.hidden = this.only === null;
    this.back.textContent = this.only ? counted("map.back", [...this.only].filter((id) => this.placeOf.has(id) && this.there(id)).length) : "";
  }

  // --- hands

  listen() {
    const { plane } = this;
    hands(plane, {
      drawing: () => this.drawing,
      hide: () => this.hide(),
      hover: (x, y) => this.hover(x, y),
      point: (place) => this.page.go({ view: "search", photo: null, crop: null, like: [this.ids[place]], unlike: [] }),
      drawn: (line) => this.picked.show(plane.inside(line)),
      dropped: () => this.picked.drop(),
    });
  }

  hide() {
    this.tip.hidden = true;
    this.over = -1;
  }

  hover(x, y) {
    const place = this.plane.at(x, y);
    if (place === this.over) return;
    if (place < 0) return this.hide();
    this.over = place;
    const lines = [`${this.legend.name(this.labels[place])} · ${this.ids[place]}`, this.sureness(place)];
    this.tip.replaceChildren(picture(this.page.thumbnail(this.ids[place]), ""), ...lines.filter(Boolean).map((line) => element("span", {}, line)));
    this.tip.hidden = false;
    const [px, py] = this.plane.place(place);
    const [w, h] = [this.frame.clientWidth, this.frame.clientHeight];
    Object.assign(this.tip.style, { left: `${Math.min(px + 14, w - 150)}px`, top: `${Math.max(4, Math.min(py + 14, h - 170))}px` });
  }

  /** In words, while it is what colours mean. */
  sureness(place) {
    if (this.by === "class" || !this.sure.of[place]) return "";
    return word("map.agree", { agree: this.sure.agree[place], of: this.sure.of[place] });
  }

  toggleLasso() {
    this.drawing = !this.drawing;
    this.lassoing.setAttribute("aria-pressed", String(this.drawing));
    this.canvas.classList.toggle("drawing", this.drawing);
    if (!this.drawing) {
      this.plane.lasso = null;
      this.plane.draw();
    }
  }

  /** Those were removed, whatever becomes of the others. */
  gone(ids) {
    for (const id of ids) this.removed.add(id);
    this.nameBack();
    this.drawLegend();
    this.veil();
  }
}
