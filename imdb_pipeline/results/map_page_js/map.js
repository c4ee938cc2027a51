// The map itself: points by WebGL, and on a second canvas above them titles, the chosen movie and its neighbours.

import createScatterplot, { createRenderer } from "regl-scatterplot";
import { GREY } from "./colours.js";

const PAPER = { light: "#f7f7f9", dark: "#131316" };
const INK = { light: "#1c1c1e", dark: "#ececf0" };
const ACCENT = { light: "#c2185b", dark: "#ff8fb8" };
const CLOSE = 0.12; // how far the camera is from a movie that it moves to; about 1 shows all
const AREA_OF_A_TITLE = 45000; // pixels
const STEP = 0.25; // of the view, by an arrow key

/** Why there can be no map; null where there can. */
export function unsupported() {
  const context = document.createElement("canvas").getContext("webgl");
  if (!context) return "This browser has no WebGL, or it is switched off.";
  const wanted = ["OES_texture_float", "OES_element_index_uint", "WEBGL_color_buffer_float", "EXT_float_blend"];
  const lacking = wanted.filter((name) => !context.getExtension(name));
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return lacking.length ? `This browser's WebGL lacks ${lacking.join(", ")}.` : null;
}

export class MovieMap {
  constructor(canvas, overlay, data, { onOver, onChosen, onLost }) {
    this.canvas = canvas;
    this.overlay = overlay;
    this.data = data;
    this.chosen = null;
    this.shown = null; // 1 for each movie that the filters leave; null: all
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.points = Array.from({ length: data.rows }, (_, row) => [data.x[row], data.y[row], 0]);
    const renderer = createRenderer({ canvas: document.createElement("canvas") });
    const fit = () => {
      // Left to itself it draws no more than the screen it believes in.
      renderer.resize(Math.max(1, canvas.clientWidth), Math.max(1, canvas.clientHeight));
      this.plot?.redraw();
    };
    fit();
    renderer.canvas.addEventListener("webglcontextlost", onLost);
    this.plot = createScatterplot({
      renderer,
      canvas,
      pointSize: Math.max(1.6, Math.min(8, 600 / Math.sqrt(data.rows || 1))),
      colorBy: "valueA",
      opacityBy: "density",
      opacityByDensityFill: 0.45,
      pointSizeMouseDetection: Math.max(6, Math.min(10, 600 / Math.sqrt(data.rows || 1))),
      actionKeyMap: {},
      deselectOnDblClick: false,
      deselectOnEscape: false,
      spatialIndexUseWorker: false,
    });
    this.camera = this.plot.get("camera");
    this.camera.config({ isRotate: false });
    this.camera.lookAt([0, 0], this.#far);
    this.camera.setScaleBounds([
      [0.3, 2000],
      [0.3, 2000],
    ]);
    this.plot.subscribe("pointover", (row) => onOver(row));
    this.plot.subscribe("pointout", () => onOver(null));
    this.plot.subscribe("select", ({ points: [row] }) => {
      this.plot.deselect({ preventEvent: true });
      if (row !== undefined) onChosen(row);
    });
    this.plot.subscribe("drawing", () => this.#drawOver());
    this.plot.subscribe("view", () => this.#settle());
    this.scheme.addEventListener("change", () => this.colour(this.colouring));
    this.#touch();
    canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(fit).observe(canvas);
  }

  get #look() {
    return this.scheme.matches ? "dark" : "light";
  }

  /** Draw the movies in the colours of a colouring. */
  async colour(colouring) {
    this.colouring = colouring;
    for (let row = 0; row < this.points.length; row++) this.points[row][2] = colouring.level(row);
    const spatialIndex = this.plot.get("spatialIndex");
    this.plot.set({
      backgroundColor: PAPER[this.#look],
      pointColor: [GREY[this.#look], ...colouring.palette(this.scheme.matches)],
      pointColorHover: INK[this.#look],
    });
    // While it draws, a second call would be refused.
    const before = this.drawing ?? Promise.resolve();
    this.drawing = before.then(() =>
      this.plot.draw(this.points, { zDataType: "categorical", spatialIndex, preventFilterReset: Boolean(spatialIndex) }),
    );
    await this.drawing;
    this.#recount();
  }

  /** Leave the movies of a mask, 1 for each; null leaves all. */
  async filter(shown) {
    this.shown = shown;
    const rows = [];
    for (let row = 0; shown && row < shown.length; row++) if (shown[row]) rows.push(row);
    await (shown ? this.plot.filter(rows) : this.plot.unfilter());
    this.#recount();
  }

  /** Mark a movie with its neighbours; null marks none. */
  choose(movie) {
    this.chosen = movie;
    this.plot.redraw();
  }

  /** Move the view to a movie. */
  moveTo(row) {
    return this.#lookAt([this.data.x[row], this.data.y[row]], Math.min(CLOSE, this.camera.distance[1]));
  }

  whole() {
    return this.#lookAt([0, 0], this.#far);
  }

  /** How far the camera must be to have nearly all movies in view. */
  get #far() {
    const [wide, high] = this.data.half;
    return Math.max(high, (wide * this.canvas.clientHeight) / this.canvas.clientWidth) * 1.15;
  }

  zoom(factor) {
    return this.#lookAt([...this.camera.target], this.camera.distance[1] / factor);
  }

  #lookAt(target, distance) {
    const transition = !this.still.matches;
    return this.plot.zoomToLocation(target, distance, { transition, transitionDuration: 350 });
  }

  /** How strong points are drawn depends on how many are in view; the library counts them only when the view moves. */
  #recount() {
    this.camera.pan([0, 0]);
    this.plot.redraw();
  }

  /** Draw once more when the view has come to rest, and the count with it. */
  #settle() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.plot.redraw(), 80);
  }

  /** Where a movie is on the canvas, in CSS pixels. */
  place(row) {
    const { view } = this.camera;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const x = view[0] * this.data.x[row] + view[12];
    const y = view[5] * this.data.y[row] + view[13];
    return [((x * height) / width + 1) * (width / 2), (1 - y) * (height / 2)];
  }

  #drawOver() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = window.devicePixelRatio;
    if (this.overlay.width !== Math.round(width * ratio) || this.overlay.height !== Math.round(height * ratio)) {
      this.overlay.width = Math.round(width * ratio);
      this.overlay.height = Math.round(height * ratio);
    }
    const pen = this.overlay.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.lineJoin = "round";
    const taken = [];
    if (this.chosen) this.#drawChosen(pen, width, height, taken);
    this.#drawTitles(pen, width, height, taken);
  }

  #drawChosen(pen, width, height, taken) {
    const [x, y] = this.place(this.chosen.row);
    const others = this.chosen.neighbours.map(({ row }) => [row, ...this.place(row)]);
    pen.strokeStyle = ACCENT[this.#look];
    pen.globalAlpha = 0.6;
    pen.lineWidth = 1;
    for (const [, atX, atY] of others) {
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(atX, atY);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    const ring = (atX, atY, size, line) => {
      pen.lineWidth = line;
      pen.beginPath();
      pen.arc(atX, atY, size, 0, 2 * Math.PI);
      pen.stroke();
    };
    for (const [, atX, atY] of others) if (Math.hypot(atX - x, atY - y) > 12) ring(atX, atY, 5, 1.5);
    ring(x, y, 8, 3);
    this.#title(pen, this.chosen.row, x, y, width, height, taken, ACCENT[this.#look], 14);
    for (const [row, atX, atY] of others) this.#title(pen, row, atX, atY, width, height, taken, ACCENT[this.#look], 9);
  }

  /** Titles of those in view that most people voted on, as many as there is room for. */
  #drawTitles(pen, width, height, taken) {
    let left = Math.round((width * height) / AREA_OF_A_TITLE);
    const { view } = this.camera;
    const { x, y, votes } = this.data;
    const wide = width / height;
    for (let row = this.data.rows - 1; row >= 0 && left > 0; row--) {
      if (!votes[row]) return;
      if (this.shown && !this.shown[row]) continue;
      if (Math.abs(view[0] * x[row] + view[12]) > wide || Math.abs(view[5] * y[row] + view[13]) > 1) continue;
      const place = this.place(row);
      if (this.#title(pen, row, ...place, width, height, taken, INK[this.#look], 7)) left--;
    }
  }

  /** Write a title beside its movie, if there is room. */
  #title(pen, row, x, y, width, height, taken, colour, distance) {
    pen.font = "12px system-ui, sans-serif";
    const whole = this.data.titles.at(row);
    const text = whole.length > 34 ? `${whole.slice(0, 32).trimEnd()}…` : whole;
    const length = pen.measureText(text).width;
    const left = x + distance + length > width ? x - distance - length : x + distance;
    const box = [left - 3, y - 9, left + length + 3, y + 9];
    if (left < 0 || y < 8 || y > height - 8 || x > width || x < 0) return false;
    if (taken.some((each) => box[0] < each[2] && each[0] < box[2] && box[1] < each[3] && each[1] < box[3])) return false;
    taken.push(box);
    pen.textBaseline = "middle";
    pen.lineWidth = 3;
    pen.strokeStyle = PAPER[this.#look];
    pen.strokeText(text, left, y);
    pen.fillStyle = colour;
    pen.fillText(text, left, y);
    return true;
  }

  #key(event) {
    const steps = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (steps[event.key]) this.camera.pan(steps[event.key].map((each) => each * STEP));
    else if (event.key === "+" || event.key === "=") this.camera.scale([1.3, 1.3]);
    else if (event.key === "-") this.camera.scale([1 / 1.3, 1 / 1.3]);
    else if (event.key === "0" || event.key === "Home") this.whole();
    else return;
    event.preventDefault();
    this.plot.redraw();
  }

  /** One finger pans, two zoom; the library knows the mouse alone. */
  #touch() {
    const fingers = new Map();
    const middle = () => {
      const at = [...fingers.values()];
      const x = at.reduce((sum, each) => sum + each.x, 0) / at.length;
      const y = at.reduce((sum, each) => sum + each.y, 0) / at.length;
      return { x, y, apart: at.length > 1 ? Math.hypot(at[0].x - at[1].x, at[0].y - at[1].y) : 0 };
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "touch") return;
      fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = middle();
      fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
      const after = middle();
      const { clientWidth: width, clientHeight: height } = this.canvas;
      this.camera.pan([((after.x - before.x) / height) * 2, ((before.y - after.y) / height) * 2]);
      if (before.apart && after.apart) {
        const factor = after.apart / before.apart;
        this.camera.scale(
          [factor, factor],
          [((after.x * 2) / width - 1) * (width / height), 1 - (after.y * 2) / height],
        );
      }
      this.plot.redraw();
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      this.canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }
  }
}
