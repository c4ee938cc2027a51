// What a movie may be coloured by. A colouring gives each movie a level: 0 is grey, then its palette's colours in order.

const LEVELS = 64;
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const BELOW_TO_ABOVE = ["#1d5fa6", "#4f93cc", "#a5c3d4", "#e3cf83", "#e39a55", "#cc5733", "#97201f"];
// Okabe and Ito's, which people with any kind of colour vision tell apart; the last one stands for all other genres.
const GENRES = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#8a7f9c"];
export const GREY = { light: "#cfcfd6", dark: "#3c3c45" };
const UNSEEN = new Set(["out_of_fold", "held_out"]);

function quantile(values, share) {
  return values.length ? values[Math.round((values.length - 1) * share)] : 0;
}

function mixed(stops, share) {
  const place = Math.min(share, 1) * (stops.length - 1);
  const first = Math.min(Math.floor(place), stops.length - 2);
  const part = (stop, i) => parseInt(stop.slice(1 + 2 * i, 3 + 2 * i), 16);
  const channel = (i) => Math.round(part(stops[first], i) + (place - first) * (part(stops[first + 1], i) - part(stops[first], i)));
  return `#${[0, 1, 2].map((i) => channel(i).toString(16).padStart(2, "0")).join("")}`;
}

/** A palette of LEVELS colours; of viridis, the end that a background would swallow is left out. */
function ramp(stops, dark) {
  const [from, to] = stops !== VIRIDIS ? [0, 1] : dark ? [0.14, 1] : [0, 0.94];
  return Array.from({ length: LEVELS }, (_, i) => mixed(stops, from + ((to - from) * i) / (LEVELS - 1)));
}

/** A colouring by a number: value(row) or null. The ends are where nearly all movies lie; what is beyond has their colour. */
function byNumber(data, { name, label, missing, value, ends, digits, stops = VIRIDIS, words = ["", ""] }) {
  const values = [];
  for (let row = 0; row < data.rows; row++) {
    const each = value(row);
    if (each !== null) values.push(each);
  }
  if (!values.length) return null;
  const [low, high] = ends(Float64Array.from(values).sort());
  return {
    name,
    label,
    palette: (dark) => ramp(stops, dark),
    level(row) {
      const each = value(row);
      if (each === null) return 0;
      const share = high > low ? (each - low) / (high - low) : 0.5;
      return 1 + Math.round(Math.max(0, Math.min(1, share)) * (LEVELS - 1));
    },
    scale: { low, high, middle: (low + high) / 2, digits, words },
    missing: values.length < data.rows ? { text: missing, count: data.rows - values.length } : null,
  };
}

function byGenre(data) {
  const counts = new Map();
  for (let row = 0; row < data.rows; row++) {
    for (const genre of data.genreLists[data.genres[row]]) counts.set(genre, (counts.get(genre) ?? 0) + 1);
  }
  if (!counts.size) return null;
  const main = [...counts].sort((a, b) => b[1] - a[1]).slice(0, GENRES.length - 1).map(([genre]) => genre);
  const levels = data.genreLists.map((genres) => {
    if (!genres.length) return 0;
    const places = genres.map((genre) => main.indexOf(genre)).filter((place) => place >= 0);
    return 1 + (places.length ? Math.max(...places) : GENRES.length - 1);
  });
  const shown = new Array(GENRES.length + 1).fill(0);
  for (let row = 0; row < data.rows; row++) shown[levels[data.genres[row]]]++;
  return {
    name: "genre",
    label: "genre",
    palette: () => GENRES,
    level: (row) => levels[data.genres[row]],
    classes: [...main, "other genres"].map((text, i) => ({ text, count: shown[i + 1] })).filter(({ count }) => count),
    note: main.length > 1 ? "A movie of several genres has the colour of the rarest of these." : "",
    missing: shown[0] ? { text: "no genre", count: shown[0] } : null,
  };
}

/** The colourings that the data allow. */
export function colourings(data) {
  const bases = data.bases.map((basis) => UNSEEN.has(basis));
  const rating = (row) => (data.rating[row] ? data.rating[row] / 10 : null);
  const prediction = (row) => (data.prediction?.[row] ? data.prediction[row] / 100 : null);
  const error = (row) => {
    const unseen = data.basis?.[row] && bases[data.basis[row] - 1];
    return unseen && data.rating[row] ? rating(row) - prediction(row) : null;
  };
  const most = (values) => [quantile(values, 0.02), quantile(values, 0.98)].map((end) => Math.round(end * 10) / 10);
  const either = (values) => {
    const far = Math.max(Math.abs(quantile(values, 0.02)), Math.abs(quantile(values, 0.98)), 0.5);
    return [-Math.ceil(far * 2) / 2, Math.ceil(far * 2) / 2];
  };
  return [
    byNumber(data, { name: "rating", label: "rating", missing: "not rated", value: rating, ends: most, digits: 1 }),
    byNumber(data, {
      name: "prediction",
      label: "predicted rating",
      missing: "no prediction",
      value: prediction,
      ends: most,
      digits: 1,
    }),
    byNumber(data, {
      name: "error",
      label: "rating less prediction",
      missing: "not rated, or the model knew the rating",
      value: error,
      ends: either,
      digits: 1,
      stops: BELOW_TO_ABOVE,
      words: ["rated lower than predicted", "rated higher"],
    }),
    byNumber(data, {
      name: "year",
      label: "release year",
      missing: "no year",
      value: (row) => data.year[row] || null,
      ends: (values) => [quantile(values, 0.02), values[values.length - 1]],
      digits: 0,
    }),
    byGenre(data),
  ].filter(Boolean);
}

/** The error of a prediction that did not know the rating; null otherwise. */
export function errorOf(movie) {
  return movie.rating !== null && UNSEEN.has(movie.basis) ? movie.rating - movie.prediction : null;
}
