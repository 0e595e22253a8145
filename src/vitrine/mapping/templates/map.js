"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  };
  const text = async (id) => new TextDecoder().decode(await unpacked(id));
  const facts = JSON.parse(await text("data-facts"));
  const points = new Uint16Array(await unpacked("data-points"));
  const which = new Uint16Array(await unpacked("data-which"));
  const n = facts.count, full = 65535;
  const on = facts.classes.map(() => true);
  let texts = null;

  // places on the map by class, and by cell for what is under the pointer
  const members = facts.classes.map((one) => new Uint32Array(one.count));
  const filled = new Uint32Array(facts.classes.length);
  for (let i = 0; i < n; i++) members[which[i]][filled[which[i]]++] = i;
  const SIDE = 128, cellOf = (v) => Math.min(SIDE - 1, (v * SIDE) >> 16);
  const starts = new Uint32Array(SIDE * SIDE + 1), inCells = new Uint32Array(n);
  for (let i = 0; i < n; i++) starts[cellOf(points[2 * i + 1]) * SIDE + cellOf(points[2 * i]) + 1]++;
  for (let c = 0; c < SIDE * SIDE; c++) starts[c + 1] += starts[c];
  const next = starts.slice();
  for (let i = 0; i < n; i++) inCells[next[cellOf(points[2 * i + 1]) * SIDE + cellOf(points[2 * i]) ]++] = i;
  let lowest = 0;
  for (let i = 0; i < n; i++) lowest = Math.max(lowest, points[2 * i + 1]);
  let widest = 0;
  for (let i = 0; i < n; i++) widest = Math.max(widest, points[2 * i]);

  const canvas = $("map"), context = canvas.getContext("2d");
  let width = 0, height = 0, ratio = 1;
  let scale = 1, left = 0, top = 0; // screen = (map - corner) * scale
  let least = 1, waiting = false, chosen = -1;

  const whole = () => {
    least = Math.min((width - 32) / (widest + 1), (height - 32) / (lowest + 1));
    scale = least;
    left = widest / 2 - width / 2 / scale;
    top = lowest / 2 - height / 2 / scale;
  };
  const bound = () => {
    scale = Math.min(Math.max(scale, least * 0.6), least * 4000);
    left = Math.min(Math.max(left, -width / scale * 0.8), widest - width / scale * 0.2);
    top = Math.min(Math.max(top, -height / scale * 0.8), lowest - height / scale * 0.2);
  };
  const redraw = () => {
    if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); }
  };
  const zoom = (by, x, y) => {
    const mapX = left + x / scale, mapY = top + y / scale;
    scale = by ? scale * by : least;
    if (!by) whole();
    bound();
    if (by) { left = mapX - x / scale; top = mapY - y / scale; }
    bound();
    redraw();
  };

  const sheets = new Map();
  const sheet = (number) => {
    if (!sheets.has(number)) {
      const image = new Image();
      image.onload = redraw;
      image.src = "data:image/jpeg;base64," + $("sheet-" + number).textContent;
      sheets.set(number, image);
    }
    const image = sheets.get(number);
    return image.complete && image.naturalWidth ? image : null;
  };
  const thumbnail = (target, i, x, y, size) => {
    const each = facts.sheet * facts.sheet, image = sheet(Math.floor(i / each)), at = i % each;
    if (!image) return false;
    const s = facts.side;
    target.drawImage(image, (at % facts.sheet) * s, Math.floor(at / facts.sheet) * s, s, s, x, y, size, size);
    return true;
  };

  const inView = (most) => { // places within the view, or null where they are more than that
    const found = [];
    const x0 = cellOf(Math.max(0, left)), x1 = cellOf(Math.min(full, Math.max(0, left + width / scale)));
    const y0 = cellOf(Math.max(0, top)), y1 = cellOf(Math.min(full, Math.max(0, top + height / scale)));
    for (let cy = y0; cy <= y1; cy++) for (let k = starts[cy * SIDE + x0]; k < starts[cy * SIDE + x1 + 1]; k++) {
      const i = inCells[k], x = (points[2 * i] - left) * scale, y = (points[2 * i + 1] - top) * scale;
      if (!on[which[i]] || x < -40 || y < -40 || x > width + 40 || y > height + 40) continue;
      found.push(i);
      if (found.length > most) return null;
    }
    return found;
  };

  const draw = () => {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const near = facts.side ? inView(700) : null;
    if (near && scale > least * 3) pictures(near); else dots();
    if (chosen >= 0) ring(chosen);
  };
  const dots = () => {
    const size = Math.min(9, Math.max(1.3, 2.6 * Math.sqrt(20000 / (n + 1)) * Math.pow(scale / least, 0.4)));
    context.globalAlpha = size < 2.5 ? 0.75 : 0.85;
    members.forEach((places, number) => {
      if (!on[number]) return;
      context.fillStyle = facts.classes[number].colour;
      for (const i of places) {
        const x = (points[2 * i] - left) * scale, y = (points[2 * i + 1] - top) * scale;
        if (x > -9 && y > -9 && x < width + 9 && y < height + 9) context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    });
    context.globalAlpha = 1;
  };
  const pictures = (near) => {
    const size = Math.max(18, Math.min(64, 0.7 * Math.sqrt(width * height / (near.length + 1))));
    for (const i of near) {
      const x = (points[2 * i] - left) * scale - size / 2, y = (points[2 * i + 1] - top) * scale - size / 2;
      context.fillStyle = facts.classes[which[i]].colour;
      context.fillRect(x - 2, y - 2, size + 4, size + 4);
      thumbnail(context, i, x, y, size);
    }
  };
  const ring = (i) => {
    context.strokeStyle = getComputedStyle(document.body).color;
    context.lineWidth = 2;
    context.beginPath();
    context.arc((points[2 * i] - left) * scale, (points[2 * i + 1] - top) * scale, 9, 0, 7);
    context.stroke();
  };

  const under = (x, y) => { // the nearest visible point within 14 pixels
    const reach = 14 / scale, mapX = left + x / scale, mapY = top + y / scale;
    let best = -1, least2 = reach * reach;
    const c = (v) => cellOf(Math.min(full, Math.max(0, v)));
    for (let cy = c(mapY - reach); cy <= c(mapY + reach); cy++) {
      const row = cy * SIDE;
      for (let k = starts[row + c(mapX - reach)]; k < starts[row + c(mapX + reach) + 1]; k++) {
        const i = inCells[k], dx = points[2 * i] - mapX, dy = points[2 * i + 1] - mapY, d = dx * dx + dy * dy;
        if (d < least2 && on[which[i]]) { best = i; least2 = d; }
      }
    }
    return best;
  };
  const tip = $("tip"), seen = $("seen");
  const show = (i, x, y) => {
    if (i !== chosen) { chosen = i; redraw(); }
    tip.hidden = i < 0;
    if (i < 0) return;
    $("what").textContent = facts.classes[which[i]].name;
    const [id, source] = texts ? texts[i].split("\t") : ["", ""];
    $("where").textContent = source + (id ? " · " + id : "");
    seen.hidden = !facts.side;
    if (facts.side) {
      seen.width = seen.height = 128;
      const target = seen.getContext("2d");
      if (!thumbnail(target, i, 0, 0, 128)) sheets.get(Math.floor(i / facts.sheet / facts.sheet)).onload = () => { redraw(); show(i, x, y); };
    }
    tip.style.transform = `translate(${Math.max(4, Math.min(x + 14, width - tip.offsetWidth - 4))}px, ${Math.max(4, Math.min(y + 14, height - tip.offsetHeight - 4))}px)`;
  };

  const held = new Map();
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    canvas.classList.add("held");
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (!held.has(event.pointerId)) { show(under(x, y), x, y); return; }
    const before = held.get(event.pointerId);
    if (held.size === 1) {
      left -= (x - before[0]) / scale; top -= (y - before[1]) / scale;
      bound(); show(-1); redraw();
    } else {
      const other = [...held].find(([id]) => id !== event.pointerId)[1];
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) + 1;
      zoom(apart([x, y]) / apart(before), (x + other[0]) / 2, (y + other[1]) / 2);
    }
    held.set(event.pointerId, [x, y]);
  });
  const released = (event) => {
    held.delete(event.pointerId);
    if (!held.size) canvas.classList.remove("held");
    if (event.type === "pointerup") { const [x, y] = place(event); show(under(x, y), x, y); }
  };
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", released);
  canvas.addEventListener("pointerleave", () => { if (!held.size) show(-1); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    show(-1);
    const lines = event.deltaMode ? 33 : 1;
    zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) * 0.003), ...place(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(2, ...place(event)));
  canvas.addEventListener("keydown", (event) => {
    const step = 60 / scale, moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) { left += moves[event.key][0]; top += moves[event.key][1]; bound(); redraw(); }
    else if (event.key === "+" || event.key === "=") zoom(1.4, width / 2, height / 2);
    else if (event.key === "-") zoom(1 / 1.4, width / 2, height / 2);
    else if (event.key === "0") zoom(0);
    else return;
    show(-1);
    event.preventDefault();
  });
  document.querySelectorAll("#zoom button").forEach((button) =>
    button.addEventListener("click", () => zoom(Number(button.dataset.by), width / 2, height / 2)));

  const buttons = facts.classes.map((one, number) => {
    const row = document.createElement("li"), button = document.createElement("button");
    const dot = document.createElement("i"), name = document.createElement("span"), count = document.createElement("small");
    button.type = "button";
    dot.style.background = one.colour;
    name.textContent = one.name;
    count.textContent = one.count.toLocaleString("en");
    button.append(dot, name, count);
    row.append(button);
    $("legend").append(row);
    button.addEventListener("click", () => { on[number] = !on[number]; told(); });
    button.addEventListener("dblclick", () => { on.fill(false); on[number] = true; told(); });
    return button;
  });
  const told = () => {
    buttons.forEach((button, number) => button.setAttribute("aria-pressed", on[number]));
    const shown = facts.classes.reduce((sum, one, number) => sum + (on[number] ? one.count : 0), 0);
    $("status").textContent = shown.toLocaleString("en") + (shown < n ? " of " + n.toLocaleString("en") : "") + " items";
    show(-1);
    redraw();
  };
  document.querySelectorAll("#all button").forEach((button) =>
    button.addEventListener("click", () => { on.fill(Boolean(button.dataset.all)); told(); }));

  const fit = () => {
    const first = !width;
    width = canvas.clientWidth; height = canvas.clientHeight; ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio; canvas.height = height * ratio;
    if (first) whole();
    bound();
    redraw();
  };
  new ResizeObserver(fit).observe(canvas);
  fit();
  told();
  texts = (await text("data-texts")).split("\n");
})().catch((error) => {
  document.getElementById("status").textContent = "This browser cannot show the map (" + error + "); use one of 2023 or newer.";
});
