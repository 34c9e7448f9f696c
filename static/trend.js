// Draws the table of days as lines, in the page's own colours. Without it the table alone says the same.
(() => {
  const table = document.getElementById("trend-table");
  const place = document.getElementById("trend-chart");
  const note = document.getElementById("trend-day");
  if (!table || !place || !window.uPlot) return;

  const buttons = [...document.querySelectorAll(".trend-toggle")];
  const rows = [...table.tBodies[0].rows].reverse();
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.severity);
  const days = rows.map((row) => row.cells[0].textContent.trim());
  // A day is drawn at its midnight in UTC, whatever the zone: the labels are the table's.
  const times = rows.map((row) => Date.parse(`${row.dataset.day}T00:00:00Z`) / 1000);
  const counts = buttons.map(({ dataset }) => {
    const column = names.indexOf(dataset.severity);
    return rows.map((row) => (row.cells[column].dataset.count === "" ? null : Number(row.cells[column].dataset.count)));
  });
  const dashes = { error: [], attention: [8, 4], unknown: [2, 3], busy: [12, 3, 2, 3], off: [4, 4], ok: [] };
  // The variables may be made of others, which a canvas does not understand: the browser works them out.
  const colour = (name) => { place.style.color = `var(${name})`; return getComputedStyle(place).color; };
  const label = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  const day = 86400;
  const size = () => ({ width: place.clientWidth, height: Math.max(200, Math.min(340, place.clientWidth / 2)) });
  const known = note.textContent;
  let chart;

  const tell = (index) => {
    note.textContent = index == null ? known : days[index];
    buttons.forEach((button, each) => {
      const latest = index ?? counts[each].findLastIndex((count) => count !== null);
      button.querySelector("[data-value]").textContent = counts[each][latest]?.toLocaleString() ?? "–";
    });
  };

  const draw = () => {
    const axis = { stroke: colour("--tblr-secondary"), grid: { stroke: colour("--tblr-border-color"), width: 1 }, ticks: { show: false } };
    chart?.destroy();
    chart = new uPlot({
      ...size(),
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      hooks: { setCursor: [({ cursor }) => tell(cursor.left < 0 ? null : cursor.idx)] },
      scales: { x: { range: () => [times.at(-1) - 29.5 * day, times.at(-1) + day / 2] }, y: { range: (_, __, most) => [0, Math.max(5, (most || 0) * 1.1)] } },
      axes: [
        { ...axis, incrs: [1, 2, 5, 7, 14].map((count) => count * day), values: (_, splits) => splits.map((time) => label.format(time * 1000)) },
        { ...axis, size: 60, values: (_, splits) => splits.map((count) => (Number.isInteger(count) ? count.toLocaleString() : "")) },
      ],
      series: [{}, ...buttons.map((button) => ({
        label: button.dataset.severity,
        show: button.getAttribute("aria-pressed") === "true",
        stroke: colour(`--tone-${button.dataset.severity}`),
        dash: dashes[button.dataset.severity],
        width: 2,
        points: { show: true, size: 5, fill: colour(`--tone-${button.dataset.severity}`) },
      }))],
    }, [times, ...counts], place);
  };

  buttons.forEach((button, index) => button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    chart.setSeries(index + 1, { show: on });
  }));
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  new ResizeObserver(() => chart?.setSize(size())).observe(place);
  draw();
  tell(null);
})();
