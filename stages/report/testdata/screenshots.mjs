// Takes the pictures of a report that the documentation shows: what a person sees first on a desktop, in the dark, on a phone.
//
//   node screenshots.mjs MODULES CHROMIUM PAGE FOLDER        MODULES holds playwright-core; FOLDER gets report-*.png
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join, resolve } from "node:path";

const [modules, chromium, page, folder] = process.argv.slice(2).map((p) => resolve(p));
const playwright = createRequire(join(modules, "index.js"))("playwright-core");

// Sizes keep each picture below what a repository should carry: 150 KB.
const views = [
  { name: "desktop", width: 1240, height: 1400, scale: 1, colorScheme: "light" },
  { name: "dark", width: 1240, height: 1400, scale: 1, colorScheme: "dark" },
  { name: "phone", width: 390, height: 1180, scale: 1.5, colorScheme: "light" },
];

const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
for (const v of views) {
  const context = await browser.newContext({ viewport: { width: v.width, height: v.height }, deviceScaleFactor: v.scale, colorScheme: v.colorScheme });
  const tab = await context.newPage();
  await tab.goto(pathToFileURL(page).href);
  await tab.screenshot({ path: join(folder, `report-${v.name}.png`) });
  await context.close();
}
await browser.close();
