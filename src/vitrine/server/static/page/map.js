// The third view: the whole collection, alike beside alike.

import * as api from "./api.js";
import { announce, ask, button, element, picture } from "./element.js";
import { hands } from "./hands.js";
import { Plane } from "./plane.js";
import * as photo from "./photo.js";
import * as states from "./state.js";
import { counted, number, percent, word } from "./words.js";

// As far apart as twenty can be that are seen on light and on dark ground; the first ten also by most who see less of
// red or green. Then a grey for what shares a colour, and one for what has no class.
const COLOURS = ["#b84034", "#acd034", "#f494f4", "#9464dc", "#1c4cb8", "#58a010", "#f47c10", "#882888", "#106410", "#10acf4", "#1cd0b8", "#f47094", "#e8b894", "#347cc4", "#109488", "#a07010", "#b8a01c", "#704c10", "#acc4f4", "#c44ca0"];
const OTHERS = "#9a9a9a";
const NONE = "#6b6b6b";
const SOON = 2000; // milliseconds until a map that is being computed is asked for again
const NEWER = 3000; // until it is asked for a newer one
const FLIGHT = 900;
const SHOWN = 60; // of what was selected
const BATCH = 500; // removed at a time

const packed = (colour) => {
  const value = Number.parseInt(colour.slice(1), 16);
  return (0xff000000 | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
};

/** What a class is called here, however it is numbered on another map. */
const keyOf = (name) => (name === null ? "none" : typeof name === "object" ? "others" : `=${name}`);

function colourOf(number, names) {
  const key = keyOf(names[number]);
  return key === "none" ? NONE : key === "others" ? OTHERS : COLOURS[number % COLOURS.length];
}

/** Draw it into `main`. */
export function mapView(page, main) {
  const view = new MapView(page, main);
  view.load();
  return {
    update: () => {
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
    this.off = new Set(); // classes, by key
    this.removed = new Set(); // ids
    this.canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": word("map.keys"), hidden: true });
    this.legend = element("ul.legend", { hidden: true });
    this.tip = element("div.tip", { hidden: true });
    this.side = element("aside.picked", { "aria-live": "polite" });
    this.said = element("p.said-over", { role: "status" });
    this.lassoing = button(word("map.lasso"), () => this.toggleLasso(), { pressed: "false" });
    this.tools = element(
      "div.over",
      { hidden: true },
      button(word("map.nearer"), () => this.plane?.zoom(1.6), { sign: "+" }),
      button(word("map.farther"), () => this.plane?.zoom(1 / 1.6), { sign: "−" }),
      button(word("map.all"), () => this.plane?.reset()),
      this.lassoing,
    );
    this.frame = element("div.plane", {}, this.canvas, this.tools, this.legend, this.tip, this.said);
    main.replaceChildren(element("h1.unseen", {}, word("nav.map")), element("div.mapped", {}, this.frame, this.side));
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
  show({ ids, labels, names, texts, points, current, tag }) {
    const before = this.plane && { ids: this.ids, points: this.plane.points };
    Object.assign(this, { ids, labels, names, texts, current, tag });
    this.placeOf = new Map();
    ids.forEach((id, place) => this.placeOf.set(id, place));
    const packs = names.map((_, number) => packed(colourOf(number, names)));
    const colours = Uint32Array.from(labels, (label) => packs[label]);
    if (before) this.swap(before, points, colours);
    else this.begin(points, colours);
  }

  begin(points, colours) {
    this.say("");
    this.frame.classList.add("ready");
    for (const part of [this.canvas, this.tools, this.legend]) part.hidden = false;
    this.plane = new Plane(this.canvas, points, colours, (place) => this.page.thumbnail(this.ids[place]));
    this.paper();
    this.themed = new MutationObserver(() => this.paper());
    this.themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paper(), { signal: this.stop.signal });
    this.resizing = new ResizeObserver(() => this.fit());
    this.resizing.observe(this.frame);
    this.drawLegend();
    this.veil();
    this.listen();
    this.fit();
    this.follow();
  }

  /** Newer points, while one looks to where one looked. A line that was drawn stays if what lay within it does. */
  swap(before, points, colours) {
    const { plane } = this;
    const moved = before.ids.some((id, place) => {
      const now = this.placeOf.get(id);
      return now !== undefined && (points[2 * now] !== before.points[2 * place] || points[2 * now + 1] !== before.points[2 * place + 1]);
    });
    const lit = [...plane.lit].map((place) => before.ids[place]);
    this.hide();
    plane.take(points, colours);
    plane.lit = this.placesOf(lit);
    if (moved) plane.lasso = null;
    this.drawLegend();
    this.veil();
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
    this.plane.ground = packed(style.getPropertyValue("--card").trim());
    this.plane.ink = style.getPropertyValue("--ink").trim();
    this.plane.accent = style.getPropertyValue("--accent").trim();
    this.plane.draw();
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
      const whole = key ? await states.kept(key) : null;
      if (key && !whole) this.say(word("gone"));
      if (!whole && !like.length) return;
      const shown = whole && (await photo.part(whole, crop).catch(() => whole));
      const query = { photo: shown, like, unlike, k: states.PAGE, threshold: threshold || null, where: states.where(label), lang: "en" };
      const [found, place] = await Promise.all([api.search(query, signal), shown ? api.place(shown, signal) : null]);
      const image = shown && (await createImageBitmap(shown).catch(() => null));
      if (signal.aborted) return;
      this.light(found.matches.map((match) => match.id), place ? [[place.x, place.y, image]] : []);
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
    const [x, y] = place ? [place.x, place.y] : first === undefined ? [] : plane.points.subarray(2 * first, 2 * first + 2);
    plane.draw();
    if (x === undefined || !flying) return;
    await plane.fly(x, y, near, matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : FLIGHT);
  }

  drawLegend() {
    const counts = new Map();
    this.labels.forEach((label, place) => {
      if (!this.removed.has(this.ids[place])) counts.set(label, (counts.get(label) ?? 0) + 1);
    });
    const last = (label) => Number(typeof this.names[label] !== "string");
    const order = ([a], [b]) => last(a) - last(b) || (last(a) ? a - b : this.name(a).localeCompare(this.name(b)));
    const lines = [...counts].sort(order).map(([label, count]) => {
      const dot = element("i");
      dot.style.background = colourOf(label, this.names);
      const key = keyOf(this.names[label]);
      const line = element("button", { type: "button", "aria-pressed": String(!this.off.has(key)), onclick: () => this.toggle(key, line) }, dot, element("span", {}, this.name(label)), element("b", {}, number(count)));
      return element("li", {}, line);
    });
    this.legend.replaceChildren(...lines);
  }

  name(label) {
    const name = this.names[label];
    if (name === null) return word("noClass");
    return typeof name === "object" ? counted("map.others", name.others) : this.page.named(name);
  }

  toggle(key, line) {
    if (!this.off.delete(key)) this.off.add(key);
    line.setAttribute("aria-pressed", String(!this.off.has(key)));
    this.veil();
  }

  /** Hide what is switched off, and what was removed. */
  veil() {
    const off = this.names.map((name) => this.off.has(keyOf(name)));
    this.labels.forEach((label, place) => (this.plane.hidden[place] = Number(off[label] || this.removed.has(this.ids[place]))));
    this.plane.draw();
  }

  // --- hands

  listen() {
    const { plane } = this;
    hands(plane, {
      drawing: () => this.drawing,
      hide: () => this.hide(),
      hover: (x, y) => this.hover(x, y),
      point: (place) => this.page.go({ view: "search", photo: null, crop: null, like: [this.ids[place]], unlike: [] }),
      drawn: (line) => this.pick(plane.inside(line)),
      dropped: () => this.unpick(),
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
    this.tip.replaceChildren(picture(this.page.thumbnail(this.ids[place]), ""), element("span", {}, `${this.name(this.labels[place])} · ${this.ids[place]}`));
    this.tip.hidden = false;
    const [px, py] = this.plane.place(place);
    const [w, h] = [this.frame.clientWidth, this.frame.clientHeight];
    Object.assign(this.tip.style, { left: `${Math.min(px + 14, w - 150)}px`, top: `${Math.max(4, Math.min(py + 14, h - 170))}px` });
  }

  // --- what is selected

  toggleLasso() {
    this.drawing = !this.drawing;
    this.lassoing.setAttribute("aria-pressed", String(this.drawing));
    this.canvas.classList.toggle("drawing", this.drawing);
    if (!this.drawing) {
      this.plane.lasso = null;
      this.plane.draw();
    }
  }

  pick(places) {
    const { page } = this;
    const ids = places.map((place) => this.ids[place]).sort((a, b) => a - b);
    const counts = new Map();
    for (const place of places) counts.set(this.labels[place], (counts.get(this.labels[place]) ?? 0) + 1);
    const classes = [...counts].sort((a, b) => b[1] - a[1]).map(([label, count]) => element("li", {}, `${this.name(label)}: ${number(count)}`));
    const shown = ids.slice(0, SHOWN).map((id) =>
      element("li", {}, element("a", { href: states.write({ ...page.state, view: "search", photo: null, crop: null, like: [id], unlike: [], label: null }), "aria-label": `${word("from")}: ${id}` }, picture(page.thumbnail(id), "", { loading: "lazy" }))),
    );
    const acts = ids.length
      ? [button(word("map.export"), () => this.export(ids)), page.writable() ? button(word("remove"), () => this.remove(ids), { kind: "bad.writes" }) : null]
      : [];
    this.side.replaceChildren(
      element("h2", {}, counted("map.selected", ids.length)),
      element("ul.small.soft", {}, classes),
      element("div.row", {}, ...acts, button(word("map.drop"), () => this.unpick(), { kind: "quiet" })),
      element("ul.small-grid", {}, shown),
    );
  }

  unpick() {
    this.side.replaceChildren();
    this.plane.lasso = null;
    this.plane.draw();
  }

  /** A CSV of what is selected: id, class and place. */
  export(ids) {
    const lines = ids.filter((id) => this.placeOf.has(id)).map((id) => {
      const place = this.placeOf.get(id);
      return [id, `"${this.texts[place].replaceAll('"', '""')}"`, this.plane.points[2 * place], this.plane.points[2 * place + 1]].join(",");
    });
    const address = URL.createObjectURL(new Blob([`id,label,x,y\n${lines.join("\n")}\n`], { type: "text/csv" }));
    const link = element("a", { href: address, download: `${this.page.catalogue.catalogue}-selected.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  async remove(ids) {
    const { page } = this;
    const sure = await ask(counted("map.sure", ids.length), word("remove"), word("no"), { text: word("remove.text", { name: page.catalogue.catalogue }), bad: true });
    if (!sure) return;
    try {
      for (let first = 0; first < ids.length; first += BATCH) {
        const batch = ids.slice(first, first + BATCH);
        await api.remove(batch, page.token);
        this.gone(batch);
      }
      this.unpick();
    } catch (error) {
      if (error.code === "token") page.lock();
      this.say(page.sentence(error));
    }
    await page.refresh().catch((error) => this.say(page.sentence(error)));
    this.load();
  }

  /** Those were removed, whatever becomes of the others. */
  gone(ids) {
    for (const id of ids) this.removed.add(id);
    this.drawLegend();
    this.veil();
  }
}
