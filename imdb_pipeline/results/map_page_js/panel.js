// What is told of one movie, and the legend.

import { errorOf } from "./colours.js";
import { byId, count, isolated, make, makeSvg } from "./dom.js";

const BASES = {
  out_of_fold: "by a model fitted without this movie",
  held_out: "by a model that this movie was held out from",
  future: "by the champion, which never saw a rating of it",
  few_votes: "by the champion, which knew its rating while it had few votes",
};

const dated = (movie) => (movie.year ? ` (${movie.year})` : "");

/** Prediction, interval and rating on a line from 1 to 10. */
function scale(movie) {
  const at = (value) => ((value - 1) / 9) * 200;
  const marks = [
    makeSvg("line", { class: "axis", x1: 0, x2: 200, y1: 12, y2: 12 }),
    makeSvg("line", { class: "interval", x1: at(movie.low), x2: at(movie.high), y1: 12, y2: 12 }),
    makeSvg("circle", { class: "prediction", cx: at(movie.prediction), cy: 12, r: 5 }),
  ];
  if (movie.rating !== null) {
    marks.push(makeSvg("line", { class: "rating", x1: at(movie.rating), x2: at(movie.rating), y1: 3, y2: 21 }));
  }
  const told = movie.rating === null ? "" : `, rating ${movie.rating.toFixed(1)}`;
  const label = `Prediction ${movie.prediction.toFixed(1)}, from ${movie.low.toFixed(1)} to ${movie.high.toFixed(1)}${told}`;
  return makeSvg("svg", { viewBox: "-6 0 212 24", role: "img", "aria-label": label }, ...marks);
}

/** Show a movie; `neighbours` are movies with their cosines, `hidden` says that the filters leave it out. */
export function showMovie(movie, neighbours, { imdb, hidden, onNeighbour, onClose }) {
  const facts = [];
  const fact = (name, ...values) => facts.push(make("div", {}, make("dt", {}, name), make("dd", {}, ...values)));
  if (movie.directors.length) {
    const names = movie.directors.flatMap((name, i) => (i ? [", ", isolated(name)] : [isolated(name)]));
    fact(movie.directors.length > 1 ? "Directors" : "Director", ...names);
  }
  fact("Genres", movie.genres.join(", ") || "none given");
  const votes = movie.votes === 1 ? "1 vote" : `${count(movie.votes)} votes`;
  fact("Rating", movie.rating === null ? "not rated yet" : `${movie.rating.toFixed(1)} of ${votes}`);
  if (movie.prediction !== null) {
    const interval = `90 % interval ${movie.low.toFixed(1)} to ${movie.high.toFixed(1)}`;
    fact("Prediction", `${movie.prediction.toFixed(1)}, ${interval}`, make("small", {}, BASES[movie.basis] ?? movie.basis));
    const error = errorOf(movie);
    if (error !== null) {
      const size = Math.abs(error).toFixed(1);
      fact("Error", size === "0.0" ? "none to speak of" : `rated ${size} ${error > 0 ? "higher" : "lower"} than predicted`);
    }
  }
  const listed = neighbours.map(({ movie: near, cosine }) => {
    const button = make("button", { type: "button", className: "near" }, isolated(near.title), dated(near));
    button.addEventListener("click", () => onNeighbour(near.row));
    const rating = near.rating === null ? "" : `, rated ${near.rating.toFixed(1)}`;
    return make("li", {}, button, make("small", {}, `cosine ${cosine.toFixed(3)}${rating}`));
  });
  const close = make("button", { type: "button", id: "close", "aria-label": "Close the details" }, "×");
  close.addEventListener("click", onClose);
  const link = make(
    "a",
    { href: `https://www.imdb.com/title/${movie.id}/`, target: "_blank", rel: "noopener noreferrer" },
    "Its page on IMDb",
  );
  byId("movie").replaceChildren(
    close,
    make("h2", { id: "movie-title", tabIndex: -1 }, isolated(movie.title), make("span", { className: "soft" }, dated(movie))),
    hidden ? make("p", { className: "soft" }, "The filters leave it out of the map.") : "",
    make("dl", {}, ...facts),
    movie.prediction === null ? "" : scale(movie),
    listed.length ? make("h3", {}, "Nearest movies") : "",
    listed.length ? make("ol", {}, ...listed) : "",
    imdb ? make("p", {}, link) : make("p", { className: "soft" }, "A movie of the synthetic sample."),
  );
}

export function showNoMovie(hint) {
  byId("movie").replaceChildren(make("p", { className: "soft" }, hint));
}

/** Show what the colours mean. */
export function showLegend(colouring, dark, grey) {
  const swatch = (colour) => {
    const element = make("span", { className: "swatch" });
    element.style.background = colour;
    return element;
  };
  const palette = colouring.palette(dark);
  const parts = [make("h2", {}, `Colour: ${colouring.label}`)];
  if (colouring.classes) {
    const classes = colouring.classes.map(({ text, count: number }) => {
      const place = text === "other genres" ? palette.length - 1 : colouring.classes.findIndex((each) => each.text === text);
      return make("li", {}, swatch(palette[place]), text, make("small", {}, count(number)));
    });
    parts.push(make("ul", {}, ...classes), make("p", { className: "soft" }, colouring.note));
  } else {
    const { low, high, middle, digits, words } = colouring.scale;
    const signed = (value) => (low < 0 && value > 0 ? "+" : "") + value.toFixed(digits).replace("-", "−");
    const bar = make("div", { className: "bar" });
    bar.style.background = `linear-gradient(to right, ${palette.join(", ")})`;
    const ends = low < high ? [low, middle, high] : [low];
    parts.push(bar, make("div", { className: "ends" }, ...ends.map((value) => make("span", {}, signed(value)))));
    if (words[0]) parts.push(make("div", { className: "ends soft" }, ...words.map((word) => make("span", {}, word))));
  }
  if (colouring.missing) {
    const { text, count: number } = colouring.missing;
    parts.push(make("p", { className: "missing" }, swatch(grey), text, make("small", {}, count(number))));
  }
  byId("legend").replaceChildren(...parts);
}
