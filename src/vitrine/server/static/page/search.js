// The first view: a picture, or items, and what looks like them.

import * as api from "./api.js";
import { announce, ask, bar, button, element, picture } from "./element.js";
import * as photo from "./photo.js";
import * as states from "./state.js";
import { counted, fixed, language, percent, word } from "./words.js";

const SAMPLE = 24;

/** Draw it into `main`; how it goes on: `update` says whether it could take another state without drawing anew. */
export function searchView(page, main) {
  const asks = (state) => state.photo !== null || state.like.length > 0;
  if (!asks(page.state)) return welcome(page, main, asks);
  const view = new Search(page, main);
  view.ask(true);
  return {
    update: (state) => asks(state) && view.update(state),
    leave: () => view.leave(),
  };
}

// --- nothing chosen yet

function welcome(page, main, asks) {
  const grid = element("ul.grid");
  const fill = () => grid.replaceChildren(...sample(page));
  fill();
  main.replaceChildren(
    element(
      "div.welcome",
      {},
      element(
        "section.drop",
        {},
        element("h1", {}, word("welcome.title")),
        element("p", {}, word("welcome.text")),
        element("div.row", {}, button(word("choose"), photo.choose, { kind: "first" }), button(word("take"), photo.take)),
      ),
      page.catalogue.items
        ? element(
            "section",
            {},
            element("div.tools", {}, element("h2", {}, word("welcome.begin")), button(word("another"), fill, { kind: "quiet" })),
            grid,
          )
        : null,
      history(page),
    ),
  );
  return { update: (state) => !asks(state) && state.view === "search" };
}

/** Some of the collection, by chance. Ids that are gone leave no hole. */
function sample(page) {
  const most = Math.max(page.catalogue.items, SAMPLE);
  const ids = new Set();
  while (ids.size < Math.min(SAMPLE, most)) ids.add(1 + Math.floor(Math.random() * most));
  return [...ids].map((id) => {
    const shown = picture(page.thumbnail(id), "");
    const open = element("button", { type: "button", "aria-label": `${word("from")}: ${id}`, onclick: () => page.go({ photo: null, crop: null, like: [id], unlike: [] }) }, shown);
    const card = element("li.card", {}, open);
    shown.addEventListener("error", () => card.remove());
    return card;
  });
}

function history(page) {
  const before = states.past();
  if (!before.length) return null;
  const links = before.map((one, number) => element("li", {}, element("a", { href: one.address, "aria-label": `${word("past")} ${number + 1}` }, picture(one.image, ""))));
  const all = element("section.past", {}, element("h3", {}, word("past")), element("ul", {}, links));
  const forget = button(word("forget"), () => { states.forget(); all.remove(); }, { kind: "quiet" });
  all.append(element("div", {}, forget));
  return all;
}

// --- an answer

class Search {
  constructor(page, main) {
    this.page = page;
    this.asked = element("div.asked");
    this.tools = element("div.tools");
    this.chips = element("ul.chips");
    this.trouble = element("p.trouble", { role: "alert", hidden: true });
    this.grid = element("ul.grid");
    this.end = element("div.more");
    this.matches = [];
    this.stop = null;
    main.replaceChildren(
      element("div.answer", {}, this.asked, element("section", {}, this.chips, this.tools, this.trouble, this.grid, this.end)),
    );
    this.drawTools();
  }

  get state() {
    return this.page.state;
  }

  /** Another question in the same frame; what was drawn stays until there is another answer. */
  update() {
    this.drawTools();
    this.ask(this.subject !== this.subjectOf(this.state));
    return true;
  }

  leave() {
    this.stop?.abort();
    if (this.address) URL.revokeObjectURL(this.address);
  }

  subjectOf(state) {
    return `${state.photo} ${state.crop} ${state.photo ? "" : state.like[0]}`;
  }

  /** Ask the server, and show what it says. afresh: the subject is another one, too. */
  async ask(afresh = false, offset = 0) {
    this.stop?.abort();
    const stop = (this.stop = new AbortController());
    const state = this.state;
    this.grid.classList.add("waiting");
    try {
      const whole = state.photo ? await states.kept(state.photo) : null;
      if (state.photo && !whole) return this.refuse(word("gone"));
      if (afresh) await this.drawSubject(whole);
      const shown = whole && (await photo.part(whole, state.crop).catch(() => whole));
      const query = { photo: shown, like: state.like, unlike: state.unlike, k: states.PAGE, offset, threshold: state.threshold || null, where: states.where(state.label), lang: language() };
      const answer = await api.search(query, stop.signal);
      if (this.stop !== stop) return;
      this.trouble.hidden = true;
      this.matches = offset ? [...this.matches, ...answer.matches] : answer.matches;
      this.drawMatches(answer.matches, offset);
      if (answer.prediction) this.drawPrediction(answer);
      this.drawChips();
      if (afresh) this.remember(whole);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.refuse(this.page.sentence(error));
    } finally {
      if (this.stop === stop) this.grid.classList.remove("waiting");
    }
  }

  refuse(sentence) {
    this.grid.classList.remove("waiting");
    this.trouble.textContent = sentence;
    this.trouble.hidden = false;
    this.grid.replaceChildren();
    this.end.replaceChildren();
    if (!this.asked.children.length) this.asked.append(this.others());
  }

  others() {
    return element("div.row", {}, button(word("choose"), photo.choose), button(word("take"), photo.take));
  }

  // --- what was asked

  async drawSubject(whole) {
    this.subject = this.subjectOf(this.state);
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = whole ? URL.createObjectURL(whole) : null;
    this.prediction = element("div", { "aria-live": "polite" });
    if (whole) this.drawPhoto();
    else await this.drawItem(this.state.like[0]);
  }

  drawPhoto() {
    const { page, state } = this;
    const image = picture(this.address, word("asked"));
    const frame = photo.cropper(image, state.crop, { crop: word("crop") }, (crop) => page.go({ crop }));
    const whole = button(word("crop.off"), () => page.go({ crop: null }), { kind: "quiet" });
    whole.hidden = !state.crop;
    const add = page.writable() ? button(word("add"), () => this.add()) : null;
    this.asked.replaceChildren(
      element("div.photo", {}, image, frame),
      element("p.soft.small", {}, word("crop.tip"), " ", whole),
      this.prediction,
      element("div.row", {}, this.others(), add),
    );
  }

  async drawItem(id) {
    const { page } = this;
    const item = await api.item(id);
    const facts = Object.entries(item.columns ?? {}).map(([name, value]) => element("li", {}, `${name}: ${value}`));
    const image = picture(item.original ? api.original(id) : page.thumbnail(id), page.named(item.label));
    this.asked.replaceChildren(
      element("div.photo", {}, image),
      element("div", {}, element("h3", {}, word("fromItem")), element("h2", {}, page.named(item.label)), element("p.soft.small", {}, `${id} · ${item.source}`), element("ul.small", {}, facts)),
      this.others(),
    );
  }

  drawPrediction({ prediction, input }) {
    const { page } = this;
    const names = page.model.classes[language()] ?? page.model.classes.en;
    const order = prediction.probabilities.map((share, index) => [share, index]).sort((a, b) => b[0] - a[0]).slice(0, 10);
    const lines = order.map(([share, index]) => element("li", {}, element("span", { title: names[index] }, names[index]), bar(share), element("b", {}, percent(share))));
    const { height, width, channels } = page.model.image;
    this.prediction.replaceChildren(
      element("h3", {}, word("probabilities")),
      element("ol.names", {}, lines),
      element(
        "div.saw",
        {},
        element("img", { src: input, alt: word("saw") }),
        element("div", {}, element("h3", {}, word("saw")), element("p.soft.small", {}, word(channels === 1 ? "saw.text" : "saw.colour", { size: `${width}×${height}` }))),
      ),
    );
  }

  async remember(whole) {
    const image = whole ? await photo.small(whole) : this.page.thumbnail(this.state.like[0]);
    if (image) states.remember(states.write(this.state), image);
  }

  // --- what it is narrowed by

  drawTools() {
    const { page, state } = this;
    const output = element("output", {}, fixed(state.threshold, 2));
    const slider = element("input", {
      type: "range", min: 0, max: 1, step: 0.01, value: state.threshold,
      oninput: () => {
        output.textContent = fixed(Number(slider.value), 2);
        clearTimeout(this.sliding);
        this.sliding = setTimeout(() => page.go({ threshold: Number(slider.value) }, true), 120);
      },
    });
    const choice = element(
      "select",
      { onchange: () => page.go({ label: choice.value || null }) },
      element("option", { value: "" }, word("all")),
      Object.keys(page.catalogue.label_counts).sort().map((label) => element("option", { value: label, selected: label === state.label }, page.named(label))),
    );
    if (this.tools.contains(document.activeElement) && this.slider) return; // not under somebody's hand
    this.slider = slider;
    this.count = element("h1.head", {}, word("likes"));
    this.tools.replaceChildren(this.count, element("label", {}, word("threshold"), slider, output), element("label", {}, element("span.unseen", {}, word("class")), choice));
  }

  drawChips() {
    const { page, state } = this;
    const single = !state.photo && state.like.length === 1 && !state.unlike.length;
    const chip = (id, side) =>
      element(
        side === "like" ? "li.chip" : "li.chip.not",
        {},
        picture(page.thumbnail(id), ""),
        `${side === "like" ? "+" : "−"} ${id}`,
        button(word("drop"), () => page.go({ [side]: state[side].filter((other) => other !== id) }), { sign: "×" }),
      );
    this.chips.replaceChildren(...(single ? [] : [...state.like.map((id) => chip(id, "like")), ...state.unlike.map((id) => chip(id, "unlike"))]));
  }

  // --- what was found

  drawMatches(matches, offset) {
    const cards = matches.map((match) => this.card(match));
    if (offset) this.grid.append(...cards);
    else this.grid.replaceChildren(...cards);
    const more = matches.length === states.PAGE ? button(word("more"), () => this.ask(false, this.matches.length)) : null;
    this.end.replaceChildren(...(more ? [more] : this.matches.length ? [] : [element("p.none", {}, word("none"))]));
    announce(counted("found", this.matches.length));
    if (offset) cards[0]?.querySelector("button").focus();
  }

  card(match) {
    const { page, state } = this;
    const label = page.named(match.label);
    const open = element(
      "button",
      { type: "button", title: match.source, "aria-label": `${word("from")}: ${label}, ${word("score", { score: fixed(match.score) })}`, onclick: () => page.go({ photo: null, crop: null, like: [match.id], unlike: [] }) },
      picture(page.thumbnail(match.id), "", { loading: "lazy" }),
      element("div.said", {}, element("span", {}, label), element("b", {}, fixed(match.score))),
    );
    const rate = (side, other) => () => page.go({ [side]: [...state[side], match.id], [other]: state[other].filter((id) => id !== match.id) });
    const acts = [
      button(word("like"), rate("like", "unlike"), { sign: "+" }),
      button(word("unlike"), rate("unlike", "like"), { sign: "−" }),
      button(word("with"), () => page.go({ view: "compare", a: state.photo ? `photo:${state.photo}` : String(state.like[0]), b: String(match.id) }), { sign: "⇄" }),
      page.writable() ? button(word("remove"), () => this.remove(match.id), { sign: "✕" }) : null,
    ];
    return element("li.card", {}, open, element("div.acts", {}, acts));
  }

  // --- what changes the collection

  async add() {
    const { page } = this;
    const field = element("input", { type: "text", "aria-label": word("class"), maxlength: 200, list: "labels" });
    const labels = element("datalist", { id: "labels" }, Object.keys(page.catalogue.label_counts).map((label) => element("option", { value: label })));
    field.append(labels);
    document.getElementById("labels")?.remove();
    document.body.append(labels);
    const label = await ask(word("add"), word("add"), word("no"), { text: word("add.text"), field });
    if (label === null) return;
    await this.change(async () => {
      const whole = await states.kept(this.state.photo);
      const answer = await api.add(await photo.part(whole, this.state.crop), label || null, page.token);
      const [{ id, added }] = answer.added;
      return word(added ? "added" : "there", { id });
    });
  }

  async remove(id) {
    const { page } = this;
    const sure = await ask(word("remove.sure", { id }), word("remove"), word("no"), { text: word("remove.text", { name: page.catalogue.catalogue }), bad: true });
    if (!sure) return;
    await this.change(async () => {
      await api.remove([id], page.token);
      return word("removed", { id });
    });
  }

  /** Do it, say what came of it, and ask again. */
  async change(act) {
    try {
      const said = await act();
      announce(said);
      await this.page.refresh();
      await this.ask();
      this.trouble.textContent = said;
      this.trouble.hidden = false;
    } catch (error) {
      this.trouble.textContent = this.page.sentence(error);
      this.trouble.hidden = false;
      if (error.code === "token") this.page.token = null;
    }
  }
}
