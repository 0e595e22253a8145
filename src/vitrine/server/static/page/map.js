// The third view: the whole collection, alike beside alike.

import * as api from "./api.js";
import { announce, ask, button, element, picture } from "./element.js";
import { Plane } from "./plane.js";
import * as photo from "./photo.js";
import * as states from "./state.js";
import { counted, number, percent, word } from "./words.js";

// Tableau 10 and lighter relatives: told apart by most eyes, on light and on dark
const COLOURS = ["#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#8a8580", "#2f5f8f", "#a85a00", "#9c2a33", "#3b8079", "#2f7a2b", "#a88a00"];
const SHOWN = 60; // of what was selected

const packed = (colour) => {
  const value = Number.parseInt(colour.slice(1), 16);
  return (0xff000000 | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
};

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
    this.off = new Set();
    this.canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": word("map.keys") });
    this.legend = element("ul.legend");
    this.tip = element("div.tip", { hidden: true });
    this.side = element("aside.picked", { "aria-live": "polite" });
    this.said = element("p.said-over", { role: "status" });
    this.lassoing = button(word("map.lasso"), () => this.toggleLasso(), { pressed: "false" });
    const tools = element(
      "div.over",
      {},
      button(word("map.nearer"), () => this.plane?.zoom(1.6), { sign: "+" }),
      button(word("map.farther"), () => this.plane?.zoom(1 / 1.6), { sign: "−" }),
      button(word("map.all"), () => this.plane?.reset()),
      this.lassoing,
    );
    this.frame = element("div.plane", {}, this.canvas, tools, this.legend, this.tip, this.said);
    main.replaceChildren(element("h1.unseen", {}, word("nav.map")), element("div.mapped", {}, this.frame, this.side));
    this.stop = new AbortController();
  }

  leave() {
    this.stop.abort();
    clearTimeout(this.again);
    this.resizing?.disconnect();
    this.themed?.disconnect();
  }

  /** Get the map; while it is computed, say how far that is, and ask again. */
  async load() {
    try {
      const found = await api.map(this.stop.signal);
      if (found.progress !== undefined) {
        this.said.textContent = word("map.computing", { share: percent(found.progress) });
        this.again = setTimeout(() => this.load(), 2000);
        return;
      }
      this.said.textContent = "";
      this.begin(found);
    } catch (error) {
      if (error.name !== "AbortError") this.said.textContent = this.page.sentence(error);
    }
  }

  begin({ ids, labels, names, points }) {
    Object.assign(this, { ids, labels, names });
    this.placeOf = new Map();
    ids.forEach((id, place) => this.placeOf.set(id, place));
    const colours = new Uint32Array(ids.length);
    labels.forEach((label, place) => (colours[place] = packed(COLOURS[label % COLOURS.length])));
    this.plane = new Plane(this.canvas, points, colours, (place) => this.page.thumbnail(ids[place]));
    this.paper();
    this.themed = new MutationObserver(() => this.paper());
    this.themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    this.resizing = new ResizeObserver(() => this.fit());
    this.resizing.observe(this.frame);
    this.drawLegend();
    this.listen();
    this.fit();
    this.follow();
  }

  fit() {
    const { clientWidth, clientHeight } = this.frame;
    if (clientWidth && clientHeight) this.plane.resize(clientWidth, clientHeight);
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

  /** Light up what the search finds, and let a photo fly to its place. */
  async follow() {
    const { page, plane } = this;
    if (!plane) return;
    const { state } = page;
    const asked = `${state.photo} ${state.crop} ${state.like} ${state.unlike}`;
    if (asked === this.asked) return;
    this.asked = asked;
    plane.marks = [];
    plane.lit = new Set();
    plane.draw();
    try {
      const whole = state.photo ? await states.kept(state.photo) : null;
      if (!whole && !state.like.length) return;
      const shown = whole && (await photo.part(whole, state.crop).catch(() => whole));
      const query = { photo: shown, like: state.like, unlike: state.unlike, k: states.PAGE, threshold: null, where: null, lang: "en" };
      const [found, place] = await Promise.all([api.search(query, this.stop.signal), shown ? api.place(shown, this.stop.signal) : null]);
      plane.lit = new Set(found.matches.map((match) => this.placeOf.get(match.id)).filter((one) => one !== undefined));
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (place) {
        const image = await createImageBitmap(shown).catch(() => null);
        plane.marks = [[place.x, place.y, image]];
        await plane.fly(place.x, place.y, [...plane.lit], calm ? 0 : 900);
      } else {
        const first = this.placeOf.get(state.like[0]);
        if (first !== undefined) {
          await plane.fly(plane.points[2 * first], plane.points[2 * first + 1], [...plane.lit], calm ? 0 : 900);
          plane.lit.add(first);
          plane.draw();
        }
      }
      announce(counted("found", found.matches.length));
    } catch (error) {
      if (error.name !== "AbortError") this.said.textContent = this.page.sentence(error);
    }
  }

  drawLegend() {
    const counts = new Map();
    for (const label of this.labels) counts.set(label, (counts.get(label) ?? 0) + 1);
    const lines = [...counts].sort((a, b) => this.name(a[0]).localeCompare(this.name(b[0]))).map(([label, count]) => {
      const dot = element("i");
      dot.style.background = COLOURS[label % COLOURS.length];
      const line = element("button", { type: "button", "aria-pressed": String(!this.off.has(label)), onclick: () => this.toggle(label, line) }, dot, element("span", {}, this.name(label)), element("b", {}, number(count)));
      return element("li", {}, line);
    });
    this.legend.replaceChildren(...lines);
  }

  name(label) {
    return this.names[label] === "no class" ? word("noClass") : this.page.named(this.names[label]);
  }

  toggle(label, line) {
    if (!this.off.delete(label)) this.off.add(label);
    line.setAttribute("aria-pressed", String(!this.off.has(label)));
    this.labels.forEach((one, place) => (this.plane.hidden[place] = Number(this.off.has(one))));
    this.plane.draw();
  }

  // --- hands

  listen() {
    const { canvas, plane } = this;
    const held = new Map();
    let moved = 0;
    const at = (event) => [event.offsetX, event.offsetY];
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.hide();
      plane.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, at(event));
      moved = 0;
      if (this.drawing) plane.lasso = [at(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return this.hover(...at(event));
      const now = at(event);
      held.set(event.pointerId, now);
      moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (this.drawing) {
        plane.lasso?.push(now);
        plane.draw();
      } else if (held.size === 2) {
        const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
        plane.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else {
        this.hide();
        plane.pan(now[0] - before[0], now[1] - before[1]);
      }
    });
    const up = (event) => {
      if (!held.delete(event.pointerId)) return;
      if (this.drawing && plane.lasso) this.pick(plane.inside(plane.lasso));
      else if (moved < 4 && event.type === "pointerup") {
        const place = plane.at(...at(event));
        if (place >= 0) this.page.go({ view: "search", photo: null, crop: null, like: [this.ids[place]], unlike: [] });
      }
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", () => this.hide());
    const STEPS = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
    canvas.addEventListener("keydown", (event) => {
      if (STEPS[event.key]) plane.pan(...STEPS[event.key]);
      else if (event.key === "+" || event.key === "=") plane.zoom(1.6);
      else if (event.key === "-") plane.zoom(1 / 1.6);
      else if (event.key === "0" || event.key === "Home") plane.reset();
      else if (event.key === "Enter") {
        const place = plane.at(canvas.width / 2, canvas.height / 2);
        if (place >= 0) this.page.go({ view: "search", photo: null, crop: null, like: [this.ids[place]], unlike: [] });
      } else return;
      event.preventDefault();
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
      ? [button(word("map.export"), () => this.export(ids)), page.writable() ? button(word("remove"), () => this.remove(ids), { kind: "bad" }) : null]
      : [];
    this.side.replaceChildren(
      element("h2", {}, counted("map.selected", ids.length)),
      element("ul.small.soft", {}, classes),
      element("div.row", {}, ...acts, button(word("map.drop"), () => this.unpick(), { kind: "quiet" })),
      element("ul.small-grid", {}, shown),
    );
    this.fit();
  }

  unpick() {
    this.side.replaceChildren();
    this.plane.lasso = null;
    this.plane.draw();
  }

  /** A CSV of what is selected: id, class and place. */
  export(ids) {
    const lines = ids.map((id) => {
      const place = this.placeOf.get(id);
      const label = this.names[this.labels[place]] ?? "";
      return [id, `"${label.replaceAll('"', '""')}"`, this.plane.points[2 * place], this.plane.points[2 * place + 1]].join(",");
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
      for (let first = 0; first < ids.length; first += 500) await api.remove(ids.slice(first, first + 500), page.token);
      for (const id of ids) this.plane.hidden[this.placeOf.get(id)] = 1;
      this.unpick();
      await page.refresh();
    } catch (error) {
      this.said.textContent = page.sentence(error);
    }
  }
}
