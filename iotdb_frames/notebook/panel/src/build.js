// Bundles the panel into one ES module and one style sheet, which are committed: people who install
// the package need no Node.js. The first line names the sources, so that a test can tell a stale
// bundle without building one.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const SOURCES = ["build.js", "chart.js", "package-lock.json", "package.json", "panel.css", "panel.js", "ring.js", "text.js"];

const hash = createHash("sha256");
for (const name of SOURCES) hash.update(readFileSync(new URL(name, import.meta.url)));
const banner = `/* built from src/ ${hash.digest("hex")}; uPlot (MIT, Leon Sorokin) is included */`;

await build({
  entryPoints: ["panel.js", "panel.css"],
  absWorkingDir: import.meta.dirname,
  outdir: "..",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: banner, css: banner },
});
