// How a photo gets in: dropped, pasted, chosen or taken; and the part of it that is meant.

import { element } from "./element.js";

/** Call `got` with every picture file that is dropped anywhere, pasted, chosen or taken. */
export function listen(got) {
  const take = (files) => {
    const file = [...(files ?? [])].find((one) => one.type.startsWith("image/") || one.type === "") ?? files?.[0];
    if (file) got(file);
  };
  for (const id of ["chosen", "taken"]) {
    const input = document.getElementById(id);
    input.addEventListener("change", () => {
      take(input.files);
      input.value = "";
    });
  }
  let depth = 0;
  const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const over = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", (event) => holds(event) && over(1));
  addEventListener("dragleave", (event) => holds(event) && over(-1));
  addEventListener("dragover", (event) => holds(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    over(-depth);
    take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      take(event.clipboardData.files);
    }
  });
}

export const choose = () => document.getElementById("chosen").click();
export const take = () => document.getElementById("taken").click();

/** A part of a picture on white: a JPEG has no transparency, and what is transparent would become black. */
function drawn(whole, [x, y, w, h], width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.max(1, width), height: Math.max(1, height) });
  const brush = canvas.getContext("2d");
  brush.fillStyle = "#fff";
  brush.fillRect(0, 0, canvas.width, canvas.height);
  brush.drawImage(whole, x, y, w, h, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** The part of a photo inside a box (x, y, width, height; 0 to 1) as a JPEG; the whole photo as it is. */
export async function part(photo, box) {
  if (!box) return photo;
  const whole = await createImageBitmap(photo);
  const [x, y, w, h] = [box[0] * whole.width, box[1] * whole.height, box[2] * whole.width, box[3] * whole.height].map(Math.round);
  const canvas = drawn(whole, [x, y, Math.max(1, w), Math.max(1, h)], w, h);
  whole.close();
  const made = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([made], photo.name ?? "photo.jpg", { type: "image/jpeg" });
}

/** A small copy for the history, as a data: address; null where the browser cannot read the photo. */
export async function small(photo) {
  try {
    const whole = await createImageBitmap(photo);
    const scale = 64 / Math.max(whole.width, whole.height);
    const canvas = drawn(whole, [0, 0, whole.width, whole.height], whole.width * scale, whole.height * scale);
    whole.close();
    return canvas.toDataURL("image/jpeg", 0.7);
  } catch {
    return null;
  }
}

const LEAST = 0.03; // of a side: a smaller box is a slip of the hand

/**
 * Let a box be drawn over a picture: by dragging, or by keys where it has the focus: arrows move it, with Shift they
 * size it, Escape takes it away. A finger draws only after `arm(true)`: before that it scrolls the page. changed: called
 * with the box, or null. `setBox` shows another box without a call, `stop` takes back a call that is still to come.
 */
export function cropper(image, box, words, changed) {
  const mark = element("div.crop", { hidden: !box });
  const frame = element("div.frame", { tabindex: "0", role: "application", "aria-label": words.crop }, mark);
  let said = box;
  let now = box;
  let from = null;
  let waiting;

  const show = () => {
    mark.hidden = !now;
    if (now) ["left", "top", "width", "height"].forEach((side, number) => (mark.style[side] = `${100 * now[number]}%`));
  };
  const tell = () => {
    clearTimeout(waiting);
    if (String(now) === String(said)) return;
    said = now;
    changed(now);
  };
  const fit = () => {
    if (!image.naturalWidth) return;
    const [w, h] = [image.clientWidth, image.clientHeight];
    const scale = Math.min(w / image.naturalWidth, h / image.naturalHeight);
    const [wide, high] = [image.naturalWidth * scale, image.naturalHeight * scale];
    Object.assign(frame.style, { width: `${wide}px`, height: `${high}px`, left: `${image.offsetLeft + (w - wide) / 2}px`, top: `${image.offsetTop + (h - high) / 2}px` });
    show();
  };
  const at = (event) => {
    const { left, top, width, height } = frame.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height].map((value) => Math.min(1, Math.max(0, value)));
  };
  const arm = (armed) => frame.classList.toggle("armed", armed);
  frame.addEventListener("pointerdown", (event) => {
    if (event.button || (event.pointerType === "touch" && !frame.classList.contains("armed"))) return;
    from = at(event);
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = at(event);
    now = [Math.min(x, from[0]), Math.min(y, from[1]), Math.abs(x - from[0]), Math.abs(y - from[1])];
    show();
  });
  frame.addEventListener("pointerup", () => {
    if (!from) return;
    from = null;
    if (now && (now[2] < LEAST || now[3] < LEAST)) now = null;
    show();
    tell();
  });
  frame.addEventListener("pointercancel", () => {
    if (!from) return;
    from = null;
    now = said;
    show();
  });
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  frame.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && now) now = null;
    else if (STEPS[event.key]) {
      const [dx, dy] = STEPS[event.key].map((step) => step * 0.05);
      const [x, y, w, h] = now ?? [0.1, 0.1, 0.8, 0.8];
      now = event.shiftKey
        ? [x, y, Math.min(1 - x, Math.max(0.1, w + dx)), Math.min(1 - y, Math.max(0.1, h + dy))]
        : [Math.min(1 - w, Math.max(0, x + dx)), Math.min(1 - h, Math.max(0, y + dy)), w, h];
    } else return;
    event.preventDefault();
    show();
    clearTimeout(waiting);
    waiting = setTimeout(tell, 400);
  });
  image.addEventListener("load", fit);
  new ResizeObserver(fit).observe(image);
  const setBox = (next) => {
    if (String(next) === String(said)) return;
    clearTimeout(waiting);
    [said, now, from] = [next, next, null];
    show();
  };
  return { frame, arm, setBox, stop: () => clearTimeout(waiting) };
}
