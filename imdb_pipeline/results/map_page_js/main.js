// Puts the page together: data, search, filters, colours, details; and says so where something cannot be.

import { GREY, colourings } from "./colours.js";
import { movieOf, readData } from "./data.js";
import { byId, count, isolated, make } from "./dom.js";
import { MovieMap, unsupported } from "./map.js";
import { showLegend, showMovie, showNoMovie } from "./panel.js";
import { TitleSearch } from "./search.js";

const FOUND = 8;
const VOTES = [0, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 300000, 1000000];
const HINT = "Click a movie on the map, or search for a title: what is known of it stands here.";

const timed = (name, work) => {
  const start = performance.now();
  const result = work();
  performance.measure(name, { start });
  return result;
};

/** Show the static picture in place of the map, and why. */
function showPicture(why) {
  document.documentElement.dataset.map = "picture";
  byId("notice").textContent = `${why} This picture was drawn when the page was made: by rating, and without zoom.`;
  byId("notice").hidden = false;
}

class App {
  constructor(data) {
    this.data = data;
    this.imdb = document.documentElement.dataset.imdb === "yes";
    this.chosen = null;
    this.shown = null;
    this.map = null;
    showNoMovie(HINT);
    this.#searching();
    this.#filtering();
    window.addEventListener("hashchange", () => this.#fromAddress());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented && this.chosen) this.close();
    });
  }

  /** Made when it is first needed, or once the map is drawn. */
  get search() {
    this.index ??= timed("index", () => new TitleSearch(this.data));
    return this.index;
  }

  /** Draw the map; without one, all else works. */
  async draw() {
    const why = unsupported();
    if (why) {
      showPicture(why);
      return;
    }
    const colours = colourings(this.data);
    this.map = new MovieMap(byId("points"), byId("over"), this.data, {
      onOver: (row) => this.#tell(row),
      onChosen: (row) => this.choose(row),
      onLost: () => showPicture("The browser took the graphics memory back; load the page again for the map."),
    });
    const select = byId("colour");
    select.replaceChildren(...colours.map(({ name, label }) => make("option", { value: name }, label)));
    const recolour = async () => {
      const start = performance.now();
      const colouring = colours.find(({ name }) => name === select.value);
      const dark = this.map.scheme.matches;
      showLegend(colouring, dark, GREY[dark ? "dark" : "light"]);
      await this.map.colour(colouring);
      performance.measure("colour", { start });
    };
    select.addEventListener("change", recolour);
    this.map.scheme.addEventListener("change", recolour);
    if (colours.length) await recolour();
    byId("in").addEventListener("click", () => this.map.zoom(1.6));
    byId("out").addEventListener("click", () => this.map.zoom(1 / 1.6));
    byId("whole").addEventListener("click", () => this.map.whole());
    document.documentElement.dataset.map = "drawn";
  }

  /** Show a movie, and mark it on the map; `move` brings it into view, `focus` the details. */
  choose(row, { move = false, focus = false } = {}) {
    const movie = movieOf(this.data, row);
    this.chosen = movie;
    showMovie(
      movie,
      movie.neighbours.map(({ row: near, cosine }) => ({ movie: movieOf(this.data, near), cosine })),
      {
        imdb: this.imdb,
        hidden: Boolean(this.shown && !this.shown[row]),
        onNeighbour: (near) => this.choose(near, { move: true, focus: true }),
        onClose: () => this.close(),
      },
    );
    this.map?.choose(movie);
    if (move) this.map?.moveTo(row);
    if (focus) byId("movie-title").focus();
    if (location.hash !== `#${movie.id}`) location.hash = movie.id;
  }

  close() {
    this.chosen = null;
    showNoMovie(HINT);
    this.map?.choose(null);
    if (location.hash) location.hash = "";
    byId("search").focus();
  }

  /** Show the movie that the address ends with, as in map.html#tt0120737. */
  #fromAddress() {
    const id = location.hash.slice(1);
    if (!id || id === this.chosen?.id) return;
    const [row] = this.search.find(id, 1);
    if (row !== undefined) this.choose(row, { move: true });
  }

  #tell(row) {
    const tip = byId("tip");
    tip.hidden = row === null;
    this.map.canvas.classList.toggle("over", row !== null);
    if (row === null) return;
    const movie = movieOf(this.data, row);
    const told = [movie.year, movie.rating === null ? "not rated" : `rated ${movie.rating.toFixed(1)}`];
    tip.replaceChildren(isolated(movie.title), make("small", {}, told.filter(Boolean).join(", ")));
    const [x, y] = this.map.place(row);
    const { clientWidth: width } = this.map.canvas;
    tip.style.left = `${Math.max(4, Math.min(x + 12, width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y > 70 ? y - tip.offsetHeight - 10 : y + 14}px`;
  }

  #searching() {
    const [input, list] = [byId("search"), byId("found")];
    let rows = [];
    let active = -1;
    const close = () => {
      list.hidden = true;
      byId("searched").textContent = "";
      active = -1;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    };
    const activate = (place) => {
      active = place;
      [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === place)));
      if (place >= 0) input.setAttribute("aria-activedescendant", list.children[place].id);
      else input.removeAttribute("aria-activedescendant");
      list.children[place]?.scrollIntoView({ block: "nearest" });
    };
    const choose = (row) => {
      close();
      input.value = this.data.titles.at(row);
      this.choose(row, { move: true, focus: true });
    };
    const find = () => {
      rows = timed("search", () => this.search.find(input.value, FOUND));
      const options = rows.map((row, i) => {
        const movie = movieOf(this.data, row);
        const option = make("li", { id: `found-${i}`, role: "option", "aria-selected": "false" });
        const rating = movie.rating === null ? "" : movie.rating.toFixed(1);
        option.append(isolated(movie.title), make("small", {}, [movie.year, rating].filter(Boolean).join(" · ")));
        option.addEventListener("mousedown", (event) => event.preventDefault());
        option.addEventListener("click", () => choose(row));
        return option;
      });
      const asked = input.value.trim() !== "";
      list.replaceChildren(...options);
      list.hidden = !rows.length;
      byId("searched").textContent = !asked ? "" : rows.length ? `${rows.length} listed` : "No movie of this map has such a title.";
      input.setAttribute("aria-expanded", String(rows.length > 0));
      activate(-1);
    };
    input.disabled = false;
    input.addEventListener("input", find);
    input.addEventListener("focus", () => input.value && rows.length && this.chosen === null && find());
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      const open = !list.hidden;
      if (event.key === "ArrowDown" && !open) find();
      else if (event.key === "ArrowDown") activate((active + 1) % rows.length);
      else if (event.key === "ArrowUp" && open) activate((active + rows.length - (active < 0 ? 0 : 1)) % rows.length);
      else if (event.key === "Enter" && open) choose(rows[Math.max(0, active)]);
      else if (event.key === "Escape" && open) close();
      else return;
      event.preventDefault();
    });
  }

  #filtering() {
    const { year, votes, rows } = this.data;
    const [from, to, least] = [byId("from"), byId("to"), byId("votes")];
    const years = year.filter((each) => each);
    const [first, last] = [years.reduce((a, b) => Math.min(a, b), 9999), years.reduce((a, b) => Math.max(a, b), 0)];
    const most = votes.reduce((a, b) => Math.max(a, b), 0);
    const steps = VOTES.filter((each) => each <= most);
    for (const input of [from, to]) {
      Object.assign(input, { min: first, max: last, disabled: !years.length });
    }
    [from.placeholder, to.placeholder] = years.length ? [first, last] : ["", ""];
    Object.assign(least, { max: steps.length - 1, value: 0, disabled: steps.length < 2 });
    const wanted = () => ({ from: +from.value || 0, to: +to.value || 9999, votes: steps[+least.value] });
    const tellVotes = () => {
      const text = steps[+least.value] ? `${count(steps[+least.value])} or more` : "any";
      byId("votes-shown").textContent = text;
      least.setAttribute("aria-valuetext", text);
    };
    const apply = () => {
      const start = performance.now();
      const now = wanted();
      tellVotes();
      const all = !from.value && !to.value && !now.votes;
      let left = rows;
      if (!all) {
        const dated = Boolean(from.value || to.value);
        const shown = new Uint8Array(rows);
        left = 0;
        for (let row = 0; row < rows; row++) {
          const fits = votes[row] >= now.votes && (!dated || (year[row] && year[row] >= now.from && year[row] <= now.to));
          if (fits) shown[row] = 1;
          if (fits) left++;
        }
        this.shown = shown;
      } else this.shown = null;
      const upside = now.from > now.to ? ": the first year is after the last" : "";
      byId("left").textContent = all ? `${count(rows)} movies` : `${count(left)} of ${count(rows)} movies${upside}`;
      byId("reset").hidden = all;
      this.map?.filter(this.shown);
      if (this.chosen) this.choose(this.chosen.row);
      performance.measure("filter", { start });
    };
    let waiting = 0;
    const soon = () => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(apply);
    };
    for (const input of [from, to, least]) input.addEventListener("input", soon);
    byId("reset").addEventListener("click", () => {
      from.value = to.value = "";
      least.value = 0;
      apply();
      from.focus();
    });
    apply();
  }

  start() {
    this.#fromAddress();
    setTimeout(() => this.search, 50);
  }
}

async function main() {
  const failed = (reason) => {
    if (document.documentElement.dataset.map === "drawn") return;
    showPicture(`The map could not be drawn: ${reason?.message ?? reason}.`);
  };
  window.addEventListener("error", (event) => failed(event.error ?? event.message));
  window.addEventListener("unhandledrejection", (event) => failed(event.reason));
  try {
    const store = byId("data");
    const data = await readData(store.textContent.trim());
    store.remove();
    const app = new App(data);
    await app.draw();
    app.start();
    performance.measure("first draw", { start: 0 });
  } catch (error) {
    failed(error);
  }
  document.documentElement.dataset.ready = "yes";
}

main();
