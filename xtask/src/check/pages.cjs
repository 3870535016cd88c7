// Opens pages as people do and prints what is wrong with them, a line each; exit code 1 where something is.
//
//   NODE_PATH=.../node_modules node pages.cjs CHROMIUM PAGE...
//
// Light and dark: axe finds nothing, with everything open. Nothing is asked for but the page. A phone's width holds it. The keyboard
// alone opens, filters and sorts, and the address keeps it. Without scripts it says the same. What a cell carries can be saved.
"use strict";
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const axe = require("axe-core");
const puppeteer = require("puppeteer-core");

const [chromium, ...pages] = process.argv.slice(2);
const wrong = [];
const say = (page, what) => wrong.push(`${page.split(path.sep).slice(-3).join("/")}: ${what}`);

async function opened(browser, file, settings = {}) {
  const page = await browser.newPage();
  // Whoever runs this has a deadline; a slow machine is none.
  page.setDefaultTimeout(0);
  const url = pathToFileURL(file).href;
  page.on("request", (request) => {
    const asked = request.url();
    if (asked.split("#")[0] !== url && !asked.startsWith("data:")) say(file, `asks for ${asked}`);
  });
  page.on("dialog", async (dialog) => {
    say(file, `a text of it runs: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("pageerror", (error) => say(file, `script: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") say(file, `console: ${message.text()}`);
  });
  const { scheme = "light", width = 1280, scripts = true, fragment = "" } = settings;
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.setJavaScriptEnabled(scripts);
  await page.goto(url + fragment, { waitUntil: "load" });
  return page;
}

async function accessible(page, file, when) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, help, nodes } of found.violations) {
    say(file, `${when}: ${id}: ${help}: ${nodes.length} times, as ${nodes[0].html.slice(0, 160)} (${nodes[0].any[0]?.message ?? ""})`);
  }
}

const openAll = (page) => page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));

async function seen(browser, file) {
  for (const scheme of ["light", "dark"]) {
    const page = await opened(browser, file, { scheme });
    await openAll(page);
    await accessible(page, file, scheme);
    await page.close();
  }
  const phone = await opened(browser, file, { width: 390 });
  const wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  if (wide > 390) say(file, `a phone's 390 pixels are ${wide} wide`);
  await openAll(phone);
  const open = await phone.evaluate(() => document.documentElement.scrollWidth);
  if (open > 390) say(file, `with all open a phone's 390 pixels are ${open} wide`);
  await phone.close();
}

async function withoutScripts(browser, file) {
  const words = (page) => page.evaluate(() => document.querySelector("main").textContent.replace(/\s+/g, " ").trim());
  const [with_, without] = [await opened(browser, file), await opened(browser, file, { scripts: false })];
  const lost = (await words(with_)) !== (await words(without));
  if (lost) say(file, "says something else without scripts");
  const cell = await without.evaluate(() => document.querySelector("details.cell:not([open]) > .body[id^='cell=']")?.id ?? null);
  await with_.close();
  await without.close();
  if (cell === null) return;
  // The address of a cell leads to it either way.
  for (const scripts of [true, false]) {
    const page = await opened(browser, file, { scripts, fragment: `#${cell}` });
    const shown = await page.evaluate((id) => {
      const place = document.getElementById(id).getBoundingClientRect();
      return document.getElementById(id).closest("details").open && place.top >= 0 && place.top < innerHeight;
    }, cell);
    if (!shown) say(file, `#${cell} does not show its cell, scripts ${scripts ? "on" : "off"}`);
    await page.close();
  }
}

// Goes with the Tab key to something, and tells whether its focus can be seen there.
async function tabTo(page, file, selector) {
  for (let presses = 0; presses < 3_000; presses++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate((selector) => {
      const here = document.activeElement;
      const style = getComputedStyle(here);
      return { there: here.matches(selector), visible: style.outlineStyle !== "none", end: here === document.body };
    }, selector);
    if (at.there) {
      if (!at.visible) say(file, `the focus cannot be seen on ${selector}`);
      return true;
    }
    if (at.end) break;
  }
  say(file, `the Tab key does not reach ${selector}`);
  return false;
}

async function byKeyboard(browser, file) {
  const page = await opened(browser, file);
  await tabTo(page, file, ".skip");
  if (await page.$("details:not([open]) > summary")) {
    if (await tabTo(page, file, "details:not([open]) > summary")) {
      await page.keyboard.press("Enter");
      const open = await page.evaluate(() => document.activeElement.parentElement.open);
      if (!open) say(file, "Enter does not open what is closed");
    }
    // From the top again.
    await page.reload({ waitUntil: "load" });
  }
  if (await page.$(".filter")) {
    if (await tabTo(page, file, "#filter")) {
      const word = await page.evaluate(() => document.querySelector("#cells tbody th").textContent.trim().split("/").pop());
      await page.keyboard.type(word);
      const { shown, address, all } = await page.evaluate(() => ({
        shown: document.querySelectorAll("#cells tbody tr:not([hidden])").length,
        all: document.querySelectorAll("#cells tbody tr").length,
        address: location.hash,
      }));
      if (shown < 1 || shown > all || !address.includes("q=")) say(file, `filter: ${shown} of ${all} rows, address ${address}`);
    }
    if (await tabTo(page, file, "#cells th button")) {
      await page.keyboard.press("Enter");
      const sorted = await page.evaluate(() => [document.querySelectorAll("#cells th[aria-sort]").length, location.hash]);
      if (sorted[0] !== 1 || !sorted[1].includes("sort=") || !sorted[1].includes("q=")) say(file, `sort: ${sorted}`);
      // The address brings back what it says.
      const again = await opened(browser, file, { fragment: sorted[1] });
      const same = await again.evaluate(() => [document.querySelector("#filter").value !== "", document.querySelectorAll("#cells th[aria-sort]").length]);
      if (!same[0] || same[1] !== 1) say(file, `address ${sorted[1]} brings back ${same}`);
      await again.close();
    }
  }
  await page.close();
}

async function saves(browser, file) {
  const page = await opened(browser, file);
  if (await page.$("a[download]")) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "evenkeel-"));
    const session = await browser.target().createCDPSession();
    const done = new Promise((resolve) => session.on("Browser.downloadProgress", ({ state }) => state !== "inProgress" && resolve(state)));
    await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder, eventsEnabled: true });
    await openAll(page);
    await page.$eval("a[download]", (link) => link.click());
    const state = await done;
    const [name] = fs.readdirSync(folder);
    if (state !== "completed" || !name?.endsWith(".json")) say(file, `data inside the page: ${state}, ${name}`);
    else JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
    fs.rmSync(folder, { recursive: true });
  }
  await page.close();
}

(async () => {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
  const browser = await puppeteer.launch({ executablePath: chromium, args, protocolTimeout: 0, timeout: 0 });
  try {
    for (const file of pages) {
      for (const step of [seen, withoutScripts, byKeyboard, saves]) await step(browser, file);
    }
  } finally {
    await browser.close();
  }
  for (const line of new Set(wrong)) console.log(line);
  process.exitCode = wrong.length > 0 ? 1 : 0;
})();
