"use strict";
(() => {
  const PAGE = 50;
  const find = (id) => document.getElementById(id);
  const root = document.documentElement;
  root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  find("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  });

  const { variants, metrics, rows } = JSON.parse(find("data").textContent);
  const LINE = 0, INPUT = 1, OUTPUTS = 2, SCORES = 3, STATES = 4;
  const view = { page: 0, sort: "line", down: false, rows: [] };
  const option = (name, index) => new Option(name, index);
  metrics.forEach((metric, index) => find("metric").append(option(metric.name, index)));
  variants.slice(1).forEach((name, index) => find("variant").append(option(name, index + 1)));
  if (variants.length < 2) find("variant").parentElement.hidden = true;

  const haystacks = rows.map((row) => (row[INPUT] + "\n" + row[OUTPUTS].join("\n")).toLowerCase());
  const chosen = () => ({ metric: Number(find("metric").value), variant: Number(find("variant").value || 0) });

  function change(row, metric, variant) {
    const before = row[SCORES][metric][0], after = row[SCORES][metric][variant];
    if (before === null || after === null) return null;
    return metrics[metric].lower ? before - after : after - before;
  }

  function refresh() {
    const { metric, variant } = chosen();
    const show = find("show").value, words = find("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = [];
    rows.forEach((row, index) => {
      const moved = change(row, metric, variant);
      if (show === "worse" && !(moved < 0)) return;
      if (show === "better" && !(moved > 0)) return;
      if (show === "failed" && !row[STATES][metric].some((state) => state !== "s")) return;
      if (words.every((word) => haystacks[index].includes(word))) kept.push(row);
    });
    const key = {
      line: (row) => row[LINE],
      input: (row) => row[INPUT],
      change: (row) => change(row, metric, variant) ?? Infinity,
    }[view.sort] ?? ((row) => row[SCORES][metric][view.sort] ?? -Infinity);
    kept.sort((a, b) => {
      const x = key(a), y = key(b), order = x < y ? -1 : x > y ? 1 : a[LINE] - b[LINE];
      return view.down ? -order : order;
    });
    view.rows = kept;
    view.page = 0;
    draw();
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function mark(row, metric, variant) {
    const state = row[STATES][metric][variant], score = row[SCORES][metric][variant];
    if (state === "f") return element("span", "verdict worse score", "failed");
    if (state === "u") return element("span", "verdict inconclusive score", "unscored");
    if (score === null) return element("span", "verdict score", "–");
    const binary = metrics[metric].binary, good = metrics[metric].lower ? score === 0 : score === 1;
    const text = binary ? (score ? "1" : "0") : String(score);
    return element("span", "verdict score" + (binary ? (good ? " better" : " worse") : ""), text);
  }

  function drawHead() {
    const line = element("tr");
    const columns = [["line", "line"], ["input", "input"], ...variants.map((name, index) => [index, name])];
    if (variants.length > 1) columns.push(["change", "change"]);
    for (const [key, name] of columns) {
      const arrow = view.sort === key ? (view.down ? " ↓" : " ↑") : "";
      const cell = element("th", { line: "line", change: "line", input: "input" }[key] ?? "", name + arrow);
      cell.tabIndex = 0;
      const sort = () => { view.down = view.sort === key ? !view.down : false; view.sort = key; refresh(); };
      cell.addEventListener("click", sort);
      cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
      line.append(cell);
    }
    find("table").tHead.replaceChildren(line);
  }

  function drawRow(row) {
    const { metric, variant } = chosen();
    const line = element("tr");
    line.append(element("td", "line", row[LINE]));
    const input = element("td");
    input.append(element("div", "text", row[INPUT]));
    line.append(input);
    variants.forEach((_, index) => {
      const cell = element("td");
      cell.append(mark(row, metric, index), element("div", "text", row[OUTPUTS][index]));
      line.append(cell);
    });
    if (variants.length > 1) {
      const moved = change(row, metric, variant);
      const style = moved > 0 ? " better" : moved < 0 ? " worse" : "";
      const cell = element("td");
      if (moved) cell.append(element("span", "verdict" + style, (moved > 0 ? "+" : "−") + Number(Math.abs(moved).toFixed(3))));
      line.append(cell);
    }
    line.addEventListener("click", () => { if (!String(getSelection())) line.classList.toggle("open"); });
    return line;
  }

  function draw() {
    drawHead();
    const start = view.page * PAGE, shown = view.rows.slice(start, start + PAGE);
    find("table").tBodies[0].replaceChildren(...shown.map(drawRow));
    const count = (n) => n.toLocaleString("en");
    find("position").textContent = view.rows.length
      ? `${count(start + 1)}–${count(start + shown.length)} of ${count(view.rows.length)}` : "no rows";
    find("previous").disabled = view.page === 0;
    find("next").disabled = start + PAGE >= view.rows.length;
  }

  find("previous").addEventListener("click", () => { view.page -= 1; draw(); });
  find("next").addEventListener("click", () => { view.page += 1; draw(); });
  for (const id of ["metric", "variant", "show", "find"]) find(id).addEventListener("input", refresh);
  refresh();
})();
