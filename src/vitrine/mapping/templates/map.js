// The page of `vitrine map --html`: the canvas with the data that lie in the page.

import { byClass, byConfidence, classColour, shareScale } from "../canvas/colours.js";
import { hands } from "../canvas/hands.js";
import { Plane } from "../canvas/plane.js";
import { Sheets } from "./sheets.js";

const SEEING = 128; // pixels of the thumbnail in the tip

const find = (id) => document.getElementById(id);
const counting = (value) => value.toLocaleString("en");

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(find(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

const unpackedText = async (id) => new TextDecoder().decode(await unpacked(id));

class Page {
  /** facts: see page.py. which: class of each point; sure: agree and of, null where not known; texts: id and source. */
  constructor(facts, points, which, sure, texts) {
    Object.assign(this, { facts, which, sure, texts });
    this.on = facts.classes.map(() => true);
    this.only = null; // places of what alone is shown
    this.selected = [];
    this.over = -1;
    this.by = sure ? facts.colour : "class";
    this.canvas = find("map");
    this.pictures = facts.side ? new Sheets(facts.side, facts.sheet, (number) => `data:image/jpeg;base64,${find(`sheet-${number}`).textContent}`) : null;
    this.plane = new Plane(this.canvas, this.pictures);
    this.paper();
    this.plane.take(Float32Array.from(points), ...this.colours());
    if (this.pictures) this.pictures.came = () => this.pictureCame();
    this.listen();
    this.drawLegend();
    this.showColour();
    this.tell();
    new ResizeObserver(() => this.fit()).observe(this.canvas.parentElement);
    this.fit();
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (clientWidth && clientHeight) this.plane.resize(clientWidth, clientHeight, devicePixelRatio);
  }

  paper() {
    const style = getComputedStyle(document.documentElement);
    const [ground, ink, accent] = ["--ground", "--ink", "--accent"].map((name) => style.getPropertyValue(name).trim());
    this.plane.paper({ ground, ink, accent });
  }

  // --- what colours mean

  colours() {
    if (this.by === "class") return [byClass(this.which, this.facts.classes.map(({ kind }) => kind))];
    const { colours, sequence } = byConfidence(this.sure, this.plane.dark);
    return [colours, sequence];
  }

  colour(by) {
    this.by = by;
    this.plane.colour(...this.colours());
    this.showColour();
  }

  showColour() {
    find("by").hidden = !this.sure;
    find("scale").hidden = this.by === "class";
    find("shares").style.background = `linear-gradient(to right, ${shareScale(16, this.plane.dark).join(", ")})`;
    for (const choice of document.querySelectorAll("#by input")) choice.checked = choice.value === this.by;
    this.facts.classes.forEach(({ kind }, number) => {
      this.lines[number].querySelector("i").style.background = this.by === "class" ? classColour(number, kind) : "";
    });
  }

  // --- what is shown

  drawLegend() {
    this.lines = this.facts.classes.map(({ name, count }, number) => {
      const line = document.createElement("button");
      const [dot, text, many] = ["i", "span", "small"].map((kind) => document.createElement(kind));
      line.type = "button";
      [text.textContent, many.textContent] = [name, counting(count)];
      line.append(dot, text, many);
      line.addEventListener("click", () => this.switch((on, other) => (other === number ? !on : on)));
      line.addEventListener("dblclick", () => this.switch((_, other) => other === number));
      const row = document.createElement("li");
      row.append(line);
      find("legend").append(row);
      return line;
    });
  }

  /** Switch classes off or on. whether: what it was, its number -> what it is now. */
  switch(whether) {
    this.on = this.on.map(whether);
    this.tell();
  }

  /** Show what is switched on, and say so. */
  tell() {
    let shown = 0;
    this.which.forEach((number, place) => {
      const seen = this.on[number] && (!this.only || this.only.has(place));
      this.plane.hidden[place] = Number(!seen);
      shown += Number(seen);
    });
    this.lines.forEach((line, number) => line.setAttribute("aria-pressed", this.on[number]));
    find("status").textContent = `${counting(shown)}${shown < this.facts.count ? ` of ${counting(this.facts.count)}` : ""} items`;
    find("back").hidden = !this.only;
    if (this.only) find("back").textContent = `Only ${counting(this.only.size)} shown: show all`;
    this.hide();
    this.plane.draw();
  }

  // --- what is under the pointer

  hide() {
    this.over = -1;
    this.plane.lit = new Set();
    find("tip").hidden = true;
    this.plane.draw();
  }

  hover(x, y) {
    const place = this.plane.at(x, y);
    if (place === this.over) return;
    if (place < 0) this.hide();
    else this.show(place);
  }

  show(place) {
    this.over = place;
    this.plane.lit = new Set([place]);
    this.plane.draw();
    const [id, source] = this.texts[place].split("\t");
    find("what").textContent = this.facts.classes[this.which[place]].name;
    find("where").textContent = `${source} · ${id}`;
    find("sure").textContent = this.sure?.of[place] ? `${this.sure.agree[place]} of ${this.sure.of[place]} nearest have its class` : "";
    find("seen").hidden = !this.pictures;
    if (this.pictures) this.showPicture(place);
    const [tip, [x, y]] = [find("tip"), this.plane.place(place)];
    tip.hidden = false;
    const [left, top] = [Math.min(x + 14, this.plane.width - tip.offsetWidth - 4), Math.min(y + 14, this.plane.height - tip.offsetHeight - 4)];
    tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  }

  showPicture(place) {
    const seen = find("seen");
    seen.width = seen.height = SEEING;
    const found = this.pictures.of(place);
    if (found) seen.getContext("2d").drawImage(found.image, found.x, found.y, found.width, found.height, 0, 0, SEEING, SEEING);
  }

  pictureCame() {
    this.plane.draw();
    if (this.over >= 0) this.showPicture(this.over);
  }

  // --- what is selected

  select(places) {
    this.selected = places;
    find("picked").hidden = false;
    find("picked").querySelector("h2").textContent = `${counting(places.length)} selected`;
    for (const id of ["only", "save"]) find(id).disabled = !places.length;
  }

  drop() {
    find("picked").hidden = true;
    this.plane.lasso = null;
    this.plane.draw();
  }

  showOnly(places) {
    this.only = places && new Set(places);
    this.drop();
    this.tell();
    find(places ? "back" : "lasso").focus();
  }

  /** A CSV of what is selected. */
  save() {
    const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
    const lines = this.selected.map((place) => {
      const [id, source] = this.texts[place].split("\t");
      const { name, kind } = this.facts.classes[this.which[place]];
      return [id, quoted(source), quoted(kind === "class" ? name : "")].join(",");
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`id,source,label\n${lines.join("\n")}\n`], { type: "text/csv" }));
    link.download = "selected.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  listen() {
    const lasso = find("lasso");
    const drawing = () => lasso.getAttribute("aria-pressed") === "true";
    const { plane } = this;
    hands(plane, {
      drawing,
      hide: () => this.hide(),
      hover: (x, y) => this.hover(x, y),
      point: (place) => this.show(place),
      drawn: (line) => this.select(plane.inside(line)),
      dropped: () => this.drop(),
    });
    lasso.addEventListener("click", () => {
      lasso.setAttribute("aria-pressed", String(!drawing()));
      this.canvas.classList.toggle("drawing", drawing());
      if (!drawing()) this.drop();
    });
    const acts = { only: () => this.showOnly(this.selected), back: () => this.showOnly(null), save: () => this.save(), drop: () => this.drop() };
    for (const [id, act] of Object.entries(acts)) find(id).addEventListener("click", act);
    for (const one of document.querySelectorAll("#zoom button")) {
      const by = Number(one.dataset.by);
      one.addEventListener("click", () => (by ? plane.zoom(by) : plane.reset()));
    }
    for (const one of document.querySelectorAll("[data-all]")) one.addEventListener("click", () => this.switch(() => Boolean(one.dataset.all)));
    for (const one of document.querySelectorAll("#by input")) one.addEventListener("change", () => this.colour(one.value));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.paper();
      this.colour(this.by);
    });
  }
}

async function begin() {
  const facts = JSON.parse(await unpackedText("data-facts"));
  const points = new Uint16Array(await unpacked("data-points"));
  const which = new Uint16Array(await unpacked("data-which"));
  const sure = facts.sure ? await unpacked("data-sure") : null;
  const { count } = facts;
  const texts = (await unpackedText("data-texts")).split("\n");
  new Page(facts, points, which, sure && { agree: new Uint8Array(sure, 0, count), of: new Uint8Array(sure, count) }, texts);
}

begin().catch((error) => {
  find("status").textContent = `This browser cannot show the map (${error}); use one of 2023 or newer.`;
});
