// The first view: a picture, or items, and what looks like them.

import * as api from "./api.js";
import { announce, ask, button, element, picture } from "./element.js";
import * as photo from "./photo.js";
import * as states from "./state.js";
import { Subject, keyOf } from "./subject.js";
import { Tools } from "./tools.js";
import { welcome } from "./welcome.js";
import { counted, fixed, language, word } from "./words.js";

/** Draw it into `main`; how it goes on: `update` says whether it could take another state without drawing anew. */
export function searchView(page, main) {
  const asks = (state) => state.photo !== null || state.like.length > 0;
  if (!asks(page.state)) {
    welcome(page, main);
    return { update: (state) => !asks(state) && state.view === "search" };
  }
  const view = new Search(page, main);
  view.ask();
  return {
    update: (state) => asks(state) && view.update(),
    many: () => view.matches.length,
    arrives: true,
    leave: () => view.leave(),
  };
}

class Search {
  constructor(page, main) {
    this.page = page;
    this.subject = new Subject(page, () => this.add());
    this.tools = new Tools(page);
    this.chips = element("ul.chips");
    this.trouble = element("p.trouble", { role: "alert", hidden: true });
    this.notice = element("p.notice", { role: "status" });
    this.grid = element("ul.grid");
    this.end = element("div.more");
    this.matches = [];
    this.stop = null;
    this.moving = page.begun; // not when the page is opened: there, reading begins at its top
    main.replaceChildren(
      element("div.answer", {}, this.subject.place, element("section", {}, this.chips, this.tools.place, this.notice, this.trouble, this.grid, this.end)),
    );
    this.tools.show(this.state);
  }

  get state() {
    return this.page.state;
  }

  /** Another question in the same frame; what was drawn stays until there is another answer. */
  update() {
    this.tools.show(this.state);
    this.ask();
    return true;
  }

  leave() {
    this.left = true;
    this.stop?.abort();
    this.tools.leave();
    this.subject.leave();
  }

  /** Ask the server, and show what it says; an answer that comes after the next question is thrown away. */
  async ask({ offset = 0, notice = "" } = {}) {
    this.stop?.abort();
    const stop = (this.stop = new AbortController());
    const { signal } = stop;
    const state = this.state;
    const k = offset ? states.PAGE : this.page.many();
    const moved = this.subject.key !== keyOf(state);
    this.notice.textContent = notice;
    this.drawChips(state);
    this.grid.classList.add("waiting");
    try {
      const whole = state.photo ? await states.kept(state.photo) : null;
      if (signal.aborted) return;
      if (state.photo && !whole) return this.refuse(word("gone"), state);
      await this.subject.show(state, whole, signal);
      if (signal.aborted) return;
      if (moved && this.moving) this.subject.focus();
      this.moving = true;
      const answer = await this.answer(state, whole, k, offset, signal);
      if (signal.aborted) return;
      this.draw(answer, k, offset);
      this.page.arrive();
      await this.remember(state, whole);
    } catch (error) {
      if (signal.aborted) return;
      this.refuse(this.page.sentence(error), state, offset);
    } finally {
      if (this.stop === stop) this.grid.classList.remove("waiting");
    }
  }

  async answer(state, whole, k, offset, signal) {
    const shown = whole && (await photo.part(whole, state.crop).catch(() => whole));
    const query = { photo: shown, like: state.like, unlike: state.unlike, k, offset, threshold: state.threshold || null, where: states.where(state.label), lang: language() };
    return api.search(query, signal);
  }

  draw(answer, k, offset) {
    this.trouble.hidden = true;
    this.matches = offset ? [...this.matches, ...answer.matches] : answer.matches;
    this.drawMatches(answer.matches, k, offset);
    if (answer.input) this.subject.drawPrediction(answer);
  }

  /** Say why there is no answer. Where only more was asked for, what there is stays. */
  refuse(sentence, state, offset = 0) {
    this.grid.classList.remove("waiting");
    this.trouble.textContent = sentence;
    this.trouble.hidden = false;
    this.page.arrive();
    if (offset) return;
    this.grid.replaceChildren();
    this.end.replaceChildren();
    this.subject.refuse(state);
  }

  /** Put the question into the history; not each step of what narrows it. */
  async remember(state, whole) {
    const question = `${keyOf(state)} ${state.crop}`;
    if (question === this.remembered) return;
    this.remembered = question;
    const image = whole ? await photo.small(whole) : this.page.thumbnail(state.like[0]);
    if (image) await states.remember(states.write({ ...state, a: null, b: null }), image);
  }

  // --- what else counts

  drawChips(state) {
    const single = !state.photo && state.like.length === 1 && !state.unlike.length;
    const chips = single ? [] : [...state.like.map((id) => this.chip(id, "like")), ...state.unlike.map((id) => this.chip(id, "unlike"))];
    this.chips.replaceChildren(...chips);
    const rated = this.chips.querySelector(`[data-id="${this.rated}"] button`);
    if (this.rated !== undefined) (rated ?? this.chips.querySelector("button") ?? this.tools.heading).focus();
    this.rated = undefined;
  }

  chip(id, side) {
    const drop = () => {
      this.rated = null;
      this.page.go({ [side]: this.state[side].filter((other) => other !== id) });
    };
    const image = picture(this.page.thumbnail(id), "");
    image.addEventListener("error", () => image.remove()); // an item that is gone
    return element(
      side === "like" ? "li.chip" : "li.chip.not",
      { "data-id": id },
      image,
      `${side === "like" ? "+" : "−"} ${id}`,
      button(word("drop"), drop, { sign: "×" }),
    );
  }

  /** Let an item count for, or against. Its card goes; the focus goes on to its chip. */
  rate(id, side, other) {
    const without = (ids) => ids.filter((one) => one !== id);
    this.rated = id;
    this.page.go({ [side]: [...without(this.state[side]), id], [other]: without(this.state[other]) });
  }

  // --- what was found

  drawMatches(matches, k, offset) {
    const cards = matches.map((match) => this.card(match));
    if (offset) this.grid.append(...cards);
    else this.grid.replaceChildren(...cards);
    const more = matches.length === k ? button(word("more"), () => this.ask({ offset: this.matches.length })) : null;
    this.end.replaceChildren(...(more ? [more] : this.matches.length ? [] : [element("p.none", {}, word("none"))]));
    announce(counted("found", this.matches.length));
    if (offset) cards[0]?.querySelector("button").focus();
  }

  card(match) {
    const { page } = this;
    const label = page.named(match.label);
    const open = element(
      "button",
      { type: "button", title: match.source, "aria-label": `${word("from")}: ${label}, ${word("score", { score: fixed(match.score) })}`, onclick: () => page.go({ photo: null, crop: null, like: [match.id], unlike: [] }) },
      picture(page.thumbnail(match.id), "", { loading: "lazy" }),
      element("div.said", {}, element("span", {}, label), element("b", {}, fixed(match.score))),
    );
    const acts = [
      button(word("like"), () => this.rate(match.id, "like", "unlike"), { sign: "+" }),
      button(word("unlike"), () => this.rate(match.id, "unlike", "like"), { sign: "−" }),
      button(word("with"), () => this.compare(match.id), { sign: "⇄" }),
      page.writable() ? button(word("remove"), () => this.remove(match.id), { sign: "✕", kind: "writes" }) : null,
    ];
    return element("li.card", {}, open, element("div.acts", {}, acts));
  }

  compare(id) {
    const { photo: key, crop, like } = this.state;
    this.page.go({ view: "compare", a: key ? states.side(key, crop) : String(like[0]), b: String(id) });
  }

  // --- what changes the collection

  async add() {
    const { page } = this;
    const { photo: key, crop } = this.state;
    const field = element("input", { type: "text", "aria-label": word("class"), maxlength: 200, list: "labels" });
    const labels = element("datalist", { id: "labels" }, Object.keys(page.catalogue.label_counts).map((label) => element("option", { value: label })));
    document.getElementById("labels")?.remove();
    document.body.append(labels);
    const label = await ask(word("add"), word("add"), word("no"), { text: word("add.text"), field });
    if (label === null) return;
    await this.change(async () => {
      const answer = await api.add(await photo.part(await states.kept(key), crop), label || null, page.token);
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
      const { like, unlike } = this.state;
      const without = (ids) => ids.filter((one) => one !== id);
      if ([...like, ...unlike].includes(id)) page.go({ like: without(like), unlike: without(unlike) }, true);
      return word("removed", { id });
    });
  }

  /** Do it, say what came of it, and ask again. */
  async change(act) {
    try {
      const notice = await act();
      await this.page.refresh();
      if (this.left) return announce(notice);
      this.tools.list();
      this.tools.heading.focus({ preventScroll: true });
      await this.ask({ notice });
    } catch (error) {
      this.trouble.textContent = this.page.sentence(error);
      this.trouble.hidden = false;
      if (error.code === "token") this.page.lock();
    }
  }
}
