// The page is whole without this: it opens the cell that the address names, filters cells, and sorts their table.
(() => {
  "use strict";
  const table = document.getElementById("cells");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const form = document.querySelector(".filter");
  const input = document.getElementById("filter");
  const shown = document.getElementById("shown");
  const state = { q: "", sort: "", down: true };

  // Made when first asked for: most readers never filter.
  let texts;
  const text = (row) => {
    texts ??= new Map(rows.map((r) => [r, (r.cells[0].textContent + " " + r.cells[1].textContent).toLowerCase()]));
    return texts.get(row);
  };
  const units = { ns: 1, "µs": 1e3, ms: 1e6, s: 1e9, "bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9 };
  const value = (row, column) => {
    const text = row.cells[column].textContent;
    if (column < 2) return text;
    if (text === "-") return null;
    const [number, unit] = text.replaceAll(",", "").split(" ");
    return Number(number) * (units[unit] ?? 1);
  };

  const details = Array.from(document.querySelectorAll("#details > details.cell"));
  const filter = () => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const fits = words.every((word) => text(row).includes(word));
      row.hidden = !fits;
      count += fits;
    }
    for (const cell of details) {
      const text = words.length ? cell.querySelector("summary").textContent.toLowerCase() : "";
      cell.hidden = !words.every((word) => text.includes(word));
    }
    shown.textContent = words.length ? `${count} of ${rows.length}` : "";
  };

  const heads = Array.from(table.tHead.rows[0].cells);
  const sort = () => {
    const column = heads.findIndex((head) => head.textContent === state.sort);
    for (const head of heads) head.removeAttribute("aria-sort");
    if (column < 0) return;
    heads[column].setAttribute("aria-sort", state.down ? "descending" : "ascending");
    const keyed = rows.map((row) => [value(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" ? a - b : a.localeCompare(b, "en");
      return state.down ? -order : order;
    });
    body.append(...keyed.map(([, row]) => row));
  };

  // Filter and order live in the fragment: a page opened from a file may change nothing else of its address.
  const keep = () => {
    const parts = new URLSearchParams();
    if (state.q) parts.set("q", state.q);
    if (state.sort) parts.set("sort", (state.down ? "-" : "") + state.sort);
    history.replaceState(null, "", "#" + parts);
  };

  const arrive = () => {
    const fragment = location.hash.slice(1);
    if (fragment.startsWith("cell=")) {
      let id = fragment;
      try { id = decodeURIComponent(fragment); } catch { /* not encoded after all */ }
      const target = document.getElementById(id);
      const details = target?.closest("details");
      if (details) details.open = true;
      target?.scrollIntoView();
      return;
    }
    const parts = new URLSearchParams(fragment);
    if (!parts.has("q") && !parts.has("sort")) return;
    state.q = input.value = parts.get("q") ?? "";
    const order = parts.get("sort") ?? "";
    state.down = order.startsWith("-");
    state.sort = order.replace(/^-/, "");
    filter();
    sort();
    form.scrollIntoView();
  };

  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      state.down = state.sort === button.textContent ? !state.down : head.classList.contains("n");
      state.sort = button.textContent;
      sort();
      keep();
    });
    head.replaceChildren(button);
  }
  input.addEventListener("input", () => { state.q = input.value; filter(); keep(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  addEventListener("hashchange", arrive);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
  arrive();
})();
