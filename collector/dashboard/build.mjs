// Bundles src/main.js into a folder: hashed assets, each also compressed, index.html and licences.txt.
// Called by build.py: node build.mjs FOLDER
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2];
const assets = join(target, "assets");

// What most pages need comes with each of them; see there.
const everywhere = {
  name: "everywhere",
  setup(build) {
    build.onLoad({ filter: /[/\\]src[/\\]pages[/\\][^/\\]+\.js$/ }, ({ path }) => ({
      contents: `import "../everywhere.js";\n${readFileSync(path, "utf-8")}`,
    }));
  },
};

const { metafile } = await build({
  absWorkingDir: HERE,
  entryPoints: ["src/main.js"],
  outdir: assets,
  bundle: true,
  splitting: true,
  format: "esm",
  minify: true,
  target: "es2022",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".svg": "file", ".woff2": "file" },
  define: { "process.env.NODE_ENV": '"production"' },
  // Texts of licences go into a file of their own.
  legalComments: "none",
  metafile: true,
  plugins: [everywhere],
  logLevel: "warning",
});

const outputs = new Map(
  Object.entries(metafile.outputs).map(([path, output]) => [basename(path), output]),
);
const [entry] = [...outputs].find(([, output]) => output.entryPoint === "src/main.js");

mkdirSync(assets, { recursive: true });
const icon = hashed("icon.svg", readFileSync(join(HERE, "src/icon.svg")));
writeFileSync(join(target, "index.html"), page());
writeFileSync(join(target, "licences.txt"), licences());
compress();

// Returns the page; its addresses are relative to the dashboard's own, and the collector puts
// before them what leads there.
function page() {
  const style = outputs.get(entry).cssBundle;
  const links = [`<link rel="icon" type="image/svg+xml" href="assets/${icon}">`];
  if (style) links.push(`<link rel="stylesheet" href="assets/${basename(style)}">`);
  for (const name of [...imported(entry)].sort()) {
    links.push(`<link rel="modulepreload" href="assets/${name}">`);
  }
  links.push(`<script type="module" src="assets/${entry}"></script>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>trimtab</title>
${links.join("\n")}
</head>
<body>
<div id="app"></div>
<noscript>
<p>This page needs JavaScript. Without it, the terminal shows the same figures: trimtab top.</p>
<p lang="ko">이 페이지에는 JavaScript가 필요합니다. JavaScript 없이도 터미널에서 trimtab top 명령으로 같은 수치를 볼 수 있습니다.</p>
</noscript>
</body>
</html>
`;
}

// Returns the chunks that a file cannot start without.
function imported(name, found = new Set()) {
  for (const each of outputs.get(name).imports) {
    const chunk = basename(each.path);
    if (each.kind === "import-statement" && !each.external && !found.has(chunk)) {
      imported(chunk, found.add(chunk));
    }
  }
  return found;
}

function hashed(name, data) {
  const digest = createHash("sha256").update(data).digest("hex").slice(0, 8).toUpperCase();
  const [stem, end] = name.split(".");
  const made = `${stem}-${digest}.${end}`;
  writeFileSync(join(assets, made), data);
  return made;
}

// Returns the licences of every package of which a line is in the bundle.
function licences() {
  const folders = new Set();
  for (const path of Object.keys(metafile.inputs)) {
    const found = path.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
    if (found) folders.add(found[1]);
  }
  const texts = [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(
      readFileSync(join(HERE, folder, "package.json"), "utf-8"),
    );
    const file = readdirSync(join(HERE, folder)).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`expected a file with the licence in ${folder}, found none`);
    const text = readFileSync(join(HERE, folder, file), "utf-8").trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  const line = `\n${"-".repeat(80)}\n\n`;
  return [`The dashboard of trimtab holds code of these packages.\n`, ...texts].join(line);
}

function compress() {
  const sizes = {};
  for (const name of readdirSync(assets).sort()) {
    if (name.endsWith(".woff2")) continue;
    const data = readFileSync(join(assets, name));
    const params = {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
    };
    const packed = { br: brotliCompressSync(data, { params }), gz: gzipSync(data, { level: 9 }) };
    for (const [end, body] of Object.entries(packed)) {
      // A file of a few bytes grows.
      if (body.length < data.length) writeFileSync(join(assets, `${name}.${end}`), body);
    }
    sizes[name] = Math.min(packed.br.length, data.length);
  }
  const style = outputs.get(entry).cssBundle;
  const first = [entry, ...imported(entry), ...(style ? [basename(style)] : []), icon];
  const sum = (names) => names.reduce((total, name) => total + (sizes[name] ?? 0), 0);
  const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
  console.log(
    `${kB(sum(first))} compressed for the first page, ${kB(sum(Object.keys(sizes)))} in all`,
  );
}
