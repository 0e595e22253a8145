// What mouse, pen, fingers and keys do with a plane.

const STILL = 4; // pixels: who moved no farther has pointed at something
const STEPS = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };

/**
 * Listen on the plane's canvas. told: `drawing`, whether a line is to be drawn; and what to call: `hide`, `hover` (x, y),
 * `point` (place of a point), `drawn` (the line, in points' coordinates) and `dropped` (a line that is given up).
 */
export function hands(plane, told) {
  const { canvas } = plane;
  const held = new Map(); // where each pointer is that is down
  let moved = 0;
  let alone = true; // no other pointer was down since the first
  let tracing = false;
  const at = (event) => [event.offsetX, event.offsetY];

  const giveUp = () => {
    if (tracing) told.dropped();
    tracing = false;
  };
  const trace = (event) => {
    plane.lasso.push(plane.below(...at(event)));
    plane.draw();
  };
  const pinch = (before, now, other) => {
    const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
    plane.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2); // as far as what lies between them
    plane.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  };

  const down = (event) => {
    if (event.button) return;
    told.hide();
    canvas.setPointerCapture(event.pointerId);
    alone = !held.size;
    held.set(event.pointerId, at(event));
    if (!alone) return giveUp();
    moved = 0;
    tracing = told.drawing();
    if (tracing) plane.lasso = [plane.below(...at(event))];
  };
  const move = (event) => {
    const before = held.get(event.pointerId);
    if (!before) return held.size ? null : told.hover(...at(event));
    const now = at(event);
    held.set(event.pointerId, now);
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (tracing) return trace(event);
    if (held.size === 1) return plane.pan(now[0] - before[0], now[1] - before[1]);
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (held.size === 2) pinch(before, now, other);
  };
  const up = (event) => {
    if (!held.delete(event.pointerId)) return;
    if (event.type === "pointercancel") return giveUp();
    if (tracing) {
      tracing = false;
      return told.drawn(plane.lasso);
    }
    const place = alone && moved < STILL ? plane.at(...at(event)) : -1;
    if (place >= 0) told.point(place);
  };
  const wheel = (event) => {
    event.preventDefault();
    told.hide();
    plane.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
  };
  const key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (STEPS[event.key]) plane.pan(...STEPS[event.key]);
    else if (event.key === "+" || event.key === "=") plane.zoom(1.6);
    else if (event.key === "-") plane.zoom(1 / 1.6);
    else if (event.key === "0" || event.key === "Home") plane.reset();
    else if (event.key === "Enter") {
      const place = plane.at(plane.width / 2, plane.height / 2);
      if (place >= 0) told.point(place);
    } else return;
    event.preventDefault();
  };

  const twice = (event) => {
    if (!told.drawing()) plane.zoom(2, ...at(event));
  };

  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch") told.hide(); // a finger leaves whenever it is lifted
  });
  canvas.addEventListener("wheel", wheel, { passive: false });
  canvas.addEventListener("dblclick", twice);
  canvas.addEventListener("keydown", key);
}
