// Elements out of a line of code. Texts are always texts: nothing is ever parsed as HTML.

/**
 * An element. what: its name and classes, "p.soft.small". attributes: properties that begin with "on" are listeners,
 * true and false put in and leave out. children: elements, texts, or null for nothing.
 */
export function element(what, attributes = {}, ...children) {
  const [name, ...classes] = what.split(".");
  const made = document.createElement(name || "div");
  made.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A button with a text, or with a sign and the words that it stands for. */
export function button(text, click, { kind = "", sign = null, pressed = null, disabled = false } = {}) {
  const named = sign === null ? {} : { "aria-label": text, title: text };
  const attributes = { type: "button", onclick: click, "aria-pressed": pressed, disabled, ...named };
  return element(`button${kind && `.${kind}`}`, attributes, sign ?? text);
}

/** A picture; small ones are shown pixel by pixel. */
export function picture(address, alt, attributes = {}) {
  const shown = element("img", { alt, decoding: "async", draggable: "false", ...attributes });
  shown.addEventListener("load", () => shown.classList.toggle("tiny", Math.max(shown.naturalWidth, shown.naturalHeight) <= 64));
  shown.src = address;
  return shown;
}

/** A bar of that length, 0 to 1. */
export function bar(share) {
  const full = element("i");
  full.style.width = `${(100 * Math.max(0, Math.min(1, share))).toFixed(1)}%`;
  return element("span.bar", { "aria-hidden": "true" }, full);
}

/** Say something to who does not see. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** A question in a window of its own: what was answered, or null. fields: inputs that are asked for. */
export function ask(title, yes, no, { text = "", field = null, bad = false } = {}) {
  const dialog = document.getElementById("dialog");
  return new Promise((resolve) => {
    const finish = (answer) => {
      dialog.onclose = null;
      dialog.close();
      resolve(answer);
    };
    const form = element(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          finish(field ? field.value.trim() : "yes");
        },
      },
      element("h2", { id: "dialog-title" }, title),
      text && element("p.soft", {}, text),
      field,
      element("div.row", {}, button(no, () => finish(null)), element(`button${bad ? ".bad" : ".first"}`, { type: "submit" }, yes)),
    );
    dialog.replaceChildren(form);
    dialog.onclose = () => resolve(null);
    dialog.showModal();
    (field ?? form.querySelector("button")).focus();
  });
}
