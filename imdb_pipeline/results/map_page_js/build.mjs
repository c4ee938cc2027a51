// Bundles main.js with what it imports, and the licences of what is in the bundle at its beginning.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const OUT = "../templates/map_page.min.js";
const result = await build({
  entryPoints: ["main.js"],
  bundle: true,
  minify: true,
  charset: "ascii",
  format: "iife",
  // Without the checks that are for who writes shaders.
  alias: { regl: "regl/dist/regl.unchecked.js" },
  target: ["es2021"],
  legalComments: "none",
  write: false,
});
// regl-scatterplot comes bundled with what it depends on, and with code of kdbush and of simplify-js.
const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const packages = [...Object.keys(dependencies), "kdbush", "simplify-js"].sort();
const notices = packages.map((name) => {
  const folder = `node_modules/${name}`;
  const { version } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = readFileSync(`${folder}/${file}`, "utf8").trim().replaceAll("*/", "* /");
  return `${name} ${version}\n\n${text.replace(/[^\x20-\x7e\n]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`)}`;
});
// So that a test can tell whether it was made again after a change.
const sources = readdirSync(".").filter((name) => /\.m?js$|^package\.json$/.test(name)).sort();
const made = createHash("sha256");
for (const name of sources) made.update(readFileSync(name));
const banner = `/*!\nMade by build.mjs of imdb_pipeline/results/map_page_js, from sources with sha256 ${made.digest("hex")}. It holds:\n\n${notices.join("\n\n----\n\n")}\n*/\n`;
const script = banner + result.outputFiles[0].text;
if (/<\/script|<!--/i.test(script)) throw new Error("the bundle would end the script element that it is put into");
writeFileSync(OUT, script);
console.log(`${OUT}: ${(script.length / 1000).toFixed(0)} kB of ${packages.join(", ")}`);
