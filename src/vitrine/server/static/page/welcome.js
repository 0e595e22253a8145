// The first view before anything was asked: ways to begin.

import { button, element, picture } from "./element.js";
import * as photo from "./photo.js";
import * as states from "./state.js";
import { word } from "./words.js";

const SAMPLE = 24;

/** Draw it into `main`. */
export function welcome(page, main) {
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
      history(),
    ),
  );
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

function history() {
  const before = states.past();
  if (!before.length) return null;
  const links = before.map((one, number) => element("li", {}, element("a", { href: one.address, "aria-label": `${word("past")} ${number + 1}` }, picture(one.image, ""))));
  const all = element("section.past", {}, element("h3", {}, word("past")), element("ul", {}, links));
  const forget = async () => {
    await states.forget();
    all.remove();
  };
  all.append(element("div", {}, button(word("forget"), forget, { kind: "quiet" })));
  return all;
}
