// What a line on the map selects: listed, saved, shown alone, removed.

import * as api from "./api.js";
import { ask, button, element, picture } from "./element.js";
import * as states from "./state.js";
import { counted, number, word } from "./words.js";

const SHOWN = 60; // of what was selected
const BATCH = 500; // removed at a time

export class Picked {
  /** view: the map, see map.js: its `page`, `plane`, `ids`, `placeOf`, `labels` and `texts`, and what it can do. */
  constructor(view) {
    this.view = view;
    this.place = element("aside.picked", { "aria-live": "polite" });
  }

  /** These places of points. */
  show(places) {
    const { view } = this;
    const { page } = view;
    const ids = places.map((place) => view.ids[place]).sort((a, b) => a - b);
    const counts = new Map();
    for (const place of places) counts.set(view.labels[place], (counts.get(view.labels[place]) ?? 0) + 1);
    const classes = [...counts].sort((a, b) => b[1] - a[1]).map(([label, count]) => element("li", {}, `${view.legend.name(label)}: ${number(count)}`));
    const acts = ids.length
      ? [
          button(word("map.only"), () => view.showOnly(ids)),
          button(word("map.export"), () => this.export(ids)),
          page.writable() ? button(word("remove"), () => this.remove(ids), { kind: "bad.writes" }) : null,
        ]
      : [];
    this.place.replaceChildren(
      element("h2", {}, counted("map.selected", ids.length)),
      element("ul.small.soft", {}, classes),
      element("div.row", {}, ...acts, button(word("map.drop"), () => this.drop(), { kind: "quiet" })),
      element("ul.small-grid", {}, ids.slice(0, SHOWN).map((id) => this.thumbnail(id))),
    );
  }

  thumbnail(id) {
    const { page } = this.view;
    const href = states.write({ ...page.state, view: "search", photo: null, crop: null, like: [id], unlike: [], label: null });
    return element("li", {}, element("a", { href, "aria-label": `${word("from")}: ${id}` }, picture(page.thumbnail(id), "", { loading: "lazy" })));
  }

  /** Nothing is selected any more. */
  drop() {
    this.place.replaceChildren();
    this.view.plane.lasso = null;
    this.view.plane.draw();
  }

  /** A CSV of what is selected: id, class and place. */
  export(ids) {
    const { placeOf, texts, plane, page } = this.view;
    const lines = ids.filter((id) => placeOf.has(id)).map((id) => {
      const place = placeOf.get(id);
      return [id, `"${texts[place].replaceAll('"', '""')}"`, plane.points[2 * place], -plane.points[2 * place + 1]].join(",");
    });
    const address = URL.createObjectURL(new Blob([`id,label,x,y\n${lines.join("\n")}\n`], { type: "text/csv" }));
    const link = element("a", { href: address, download: `${page.catalogue.catalogue}-selected.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  async remove(ids) {
    const { view } = this;
    const { page } = view;
    const sure = await ask(counted("map.sure", ids.length), word("remove"), word("no"), { text: word("remove.text", { name: page.catalogue.catalogue }), bad: true });
    if (!sure) return;
    try {
      for (let first = 0; first < ids.length; first += BATCH) {
        const batch = ids.slice(first, first + BATCH);
        await api.remove(batch, page.token);
        view.gone(batch);
      }
      this.drop();
    } catch (error) {
      if (error.code === "token") page.lock();
      view.say(page.sentence(error));
    }
    await page.refresh().catch((error) => view.say(page.sentence(error)));
    view.load();
  }
}
