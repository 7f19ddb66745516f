// Builds each component into promptflow_lite/ui_assets/<component>/ under names that carry a hash of their content.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.env.PFL_ASSETS ?? join(here, "..", "..", "promptflow_lite", "ui_assets");
const components = ["flow_canvas", "code_cell", "trace_waterfall"];

function contentHash(bytes) {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 10);
}

function packageDirectory(moduleId) {
  const path = moduleId.replaceAll("\\", "/").replace(/^\0/, "").split("?")[0];
  const found = path.match(/^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//);
  return found?.[1];
}

function licenceText(directory) {
  const file = readdirSync(directory).find((name) => /^(licen[cs]e|copying)/i.test(name));
  return file ? readFileSync(join(directory, file), "utf8").trim() : "";
}

function licencesOf(moduleIds) {
  const directories = [...new Set(moduleIds.map(packageDirectory).filter(Boolean))];
  const packages = directories.map((directory) => ({
    directory,
    ...JSON.parse(readFileSync(join(directory, "package.json"), "utf8")),
  }));
  packages.sort((a, b) => (a.name < b.name ? -1 : 1));
  return packages
    .map((pkg) => `${pkg.name} ${pkg.version} (${pkg.license})\n\n${licenceText(pkg.directory)}\n`)
    .join(`\n${"-".repeat(78)}\n\n`);
}

async function buildComponent(name) {
  const result = await build({
    root: here,
    configFile: false,
    logLevel: "warn",
    define: { "process.env.NODE_ENV": '"production"' },
    build: {
      write: false,
      target: "es2022",
      cssMinify: true,
      lib: { entry: join(here, "src", name, "index.ts"), formats: ["es"], fileName: name, cssFileName: name },
      rollupOptions: { output: { minify: true, codeSplitting: false } },
    },
  });
  const { output } = Array.isArray(result) ? result[0] : result;
  const folder = join(target, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const item of output) {
    const bytes = item.type === "chunk" ? item.code : item.source;
    const suffix = item.fileName.endsWith(".css") ? "css" : "js";
    writeFileSync(join(folder, `${name}-${contentHash(bytes)}.${suffix}`), bytes);
  }
  const licences = licencesOf(output.flatMap((item) => Object.keys(item.modules ?? {})));
  if (licences) {
    writeFileSync(join(folder, "THIRD_PARTY_LICENSES.txt"), licences);
  }
}

for (const name of components) {
  await buildComponent(name);
}
