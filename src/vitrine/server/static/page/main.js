// The page: what its address says is what it shows.

import * as api from "./api.js";
import { announce, ask, element } from "./element.js";
import * as photo from "./photo.js";
import { compareView } from "./compare.js";
import { mapView } from "./map.js";
import { searchView } from "./search.js";
import * as states from "./state.js";
import * as words from "./words.js";

const VIEWS = { search: searchView, compare: compareView, map: mapView };
const MOST = 984; // matches at a time: the server's 1,000 in whole pages
const main = document.getElementById("main");

/** What every view may use: facts of the server, and how to go elsewhere. */
const page = {
  model: null,
  catalogue: null,
  state: states.read(location.hash),
  token: null,
  shown: null,
  returning: history.state, // where somebody was who comes back to this address: see mark
  begun: false, // whether anything was shown yet in this language: what comes later is somebody's step

  /** Show another state. quietly: without a step in the browser's history, as while a slider moves. */
  go(change, quietly = false) {
    page.state = { ...page.state, ...change };
    const address = states.write(page.state);
    if (quietly) history.replaceState(null, "", address);
    else if (address !== location.hash) {
      if (!page.returning) mark();
      history.pushState(null, "", address);
    }
    page.returning = null;
    show();
  },

  /** How many matches to ask for: as many as there were, for who comes back. */
  many: () => Math.min(MOST, Math.ceil(Math.max(1, page.returning?.many ?? 0) / states.PAGE) * states.PAGE),

  /** What was asked for is shown: who comes back is where he was. */
  arrive() {
    const { returning } = page;
    page.returning = null;
    if (returning) scrollTo(0, returning.scroll);
  },

  /** The names of all classes, those learnt later last, in that language where there are such names. */
  classes(language) {
    return [...(page.model.classes[language] ?? page.model.classes.en), ...page.model.learnt];
  },

  /** A class's name in the language of the page; labels are kept in English, or are anybody's. */
  named(label) {
    if (label === null) return words.word("noClass");
    const place = page.model.classes.en.indexOf(label);
    return place < 0 ? label : (page.model.classes[words.language()] ?? page.model.classes.en)[place];
  },

  /** The sentence for a refusal. */
  sentence(error) {
    if (!(error instanceof api.Problem)) {
      console.error(error);
      return words.word("wrong");
    }
    if (error.status === 0) return words.word("away");
    if (words.language() === "en") return error.message;
    const key = `code.${error.code}`;
    return words.word(words.known(key) ? key : "code.internal");
  },

  thumbnail: (id) => api.thumbnail(id, page.catalogue.version),

  async refresh() {
    page.catalogue = await api.catalogue();
    describe();
  },

  writable: () => page.catalogue.writable && page.token !== null,

  /** Forget the token, and whatever needs it. */
  lock() {
    page.token = null;
    for (const one of main.querySelectorAll(".writes")) one.remove();
    describe();
  },
};

function describe() {
  const { catalogue, items } = page.catalogue;
  document.getElementById("collection").textContent = `${catalogue} · ${words.number(items)} ${words.counted("items", items)}`;
  const unlock = document.getElementById("unlock");
  unlock.hidden = !page.catalogue.writable;
  unlock.textContent = words.word(page.token === null ? "settings.unlock" : "settings.lock");
  document.title = `vitrine · ${catalogue}`;
}

function show() {
  main.querySelector(":scope > .trouble")?.remove();
  for (const link of document.querySelectorAll("nav a")) {
    link.href = states.write({ ...page.state, view: link.dataset.view }); // the question goes along
    if (link.dataset.view === page.state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const view = VIEWS[page.state.view] ?? searchView;
  if (page.shown?.view === view && page.shown.update(page.state)) return;
  page.shown?.leave?.();
  page.shown = { view, ...view(page, main) };
  if (!page.shown.arrives) page.arrive();
}

let marking;

/** Keep in the browser's history how far down one is, and how many matches there are. */
function mark() {
  clearTimeout(marking);
  history.replaceState({ scroll: scrollY, many: page.shown?.many?.() ?? 0 }, "");
}

/** Everything anew, in the language of now. */
function redraw() {
  words.speak(words.language());
  if (!page.catalogue) return; // it comes
  describe();
  page.shown?.leave?.();
  page.shown = null;
  page.begun = false;
  show();
  page.begun = true;
}

async function unlock() {
  if (page.token !== null) {
    page.token = null;
    return redraw();
  }
  const field = element("input", { type: "password", "aria-label": words.word("unlock.field"), autocomplete: "off" });
  const given = await ask(words.word("unlock.title"), words.word("yes"), words.word("no"), { text: words.word("unlock.text"), field });
  if (given) {
    page.token = given;
    redraw();
  }
}

function settings() {
  const language = document.getElementById("language");
  language.value = words.language();
  language.addEventListener("change", () => {
    try {
      localStorage.setItem("vitrine.language", language.value);
    } catch {
      // only for now
    }
    words.speak(language.value);
    redraw();
  });
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("vitrine.theme", root.dataset.theme);
    } catch {
      // only for now
    }
  });
  document.getElementById("unlock").addEventListener("click", unlock);
}

/** The server went away, or came back. */
function watch() {
  const sign = document.getElementById("away");
  let trying = null;
  api.onReach((reached) => {
    if (!reached && trying === null) {
      sign.textContent = words.word("away");
      sign.hidden = false;
      trying = setInterval(() => api.healthy().catch(() => {}), 1500);
    } else if (reached && trying !== null) {
      clearInterval(trying);
      trying = null;
      sign.hidden = true;
      announce(words.word("back"));
      start();
    }
  });
}

let starting = null;

/** Get what every view needs, and show it. A server that is there, but cannot answer yet, is asked again. */
async function start() {
  clearTimeout(starting);
  try {
    [page.model, page.catalogue] = await Promise.all([api.model(), api.catalogue()]);
  } catch (error) {
    if (error.status === 0) return; // see watch
    say(error);
    starting = setTimeout(start, 1500);
    return;
  }
  redraw();
  if (early !== null) {
    const file = early;
    early = null;
    take(file);
  }
}

/** A sentence above whatever is shown, until something else is. */
function say(error) {
  main.querySelector(":scope > .trouble")?.remove();
  main.prepend(element("p.trouble", { role: "alert" }, page.sentence(error)));
}

let early = null; // a picture that came before the page was ready

async function take(file) {
  if (!page.catalogue) {
    early = file;
    return;
  }
  try {
    const key = await states.keep(file);
    if (page.shown.take) page.shown.take(states.side(key, null));
    else page.go({ view: "search", photo: key, crop: null, like: [], unlike: [] });
  } catch (error) {
    say(error);
  }
}

words.speak(words.preferred());
settings();
watch();
photo.listen(take);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would be another question: none
  main.focus();
});
history.scrollRestoration = "manual"; // what is to be scrolled is not there yet when the browser would
addEventListener("scroll", () => {
  clearTimeout(marking);
  if (!page.returning) marking = setTimeout(mark, 300);
});
addEventListener("popstate", (event) => {
  clearTimeout(marking);
  page.returning = event.state;
  page.state = states.read(location.hash);
  if (page.catalogue) show();
});
start();
