// Draws the table of the trend page as a line chart, one line for each severity. Loaded by
// reports/trend/trend.html, after uPlot. Without this script the table alone shows the counts.
//
// Contents
//   1. Data of the table
//   2. Counts in the buttons
//   3. Chart
(() => {
  const table = document.getElementById("trend-table");
  const container = document.getElementById("trend-chart");
  const caption = document.getElementById("trend-day");
  if (!table || !container || !window.uPlot) {
    return;
  }

  const DAY = 86400;
  const SHOWN_DAYS = 30;
  // Lines differ by their dashes too, for users who cannot tell the colours apart.
  const DASHES = {
    error: [],
    attention: [8, 4],
    unknown: [2, 3],
    busy: [12, 3, 2, 3],
    off: [4, 4],
    ok: [],
  };
  const dateFormat = new Intl.DateTimeFormat("en-GB", {
    day: "numeric",
    month: "short",
    timeZone: "UTC",
  });
  const initialCaption = caption.textContent;
  const buttons = [...document.querySelectorAll(".trend-toggle")];
  let chart;

  // 1. Data of the table
  // ------------------------------------------------------------

  // The first row of the table is the newest day, which is the last point of the chart.
  const rows = [...table.tBodies[0].rows].reverse();
  const columnSeverities = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.severity);
  const dayLabels = rows.map((row) => row.cells[0].textContent.trim());
  // Days are drawn at midnight UTC in every time zone, because the labels come from the table.
  const times = rows.map((row) => Date.parse(`${row.dataset.day}T00:00:00Z`) / 1000);
  const countsBySeries = buttons.map((button) => readCounts(button.dataset.severity));

  /** Returns the count of each day, or null for a day without a count. */
  function readCounts(severity) {
    const column = columnSeverities.indexOf(severity);
    return rows.map((row) => {
      const { count } = row.cells[column].dataset;
      return count === "" ? null : Number(count);
    });
  }

  // 2. Counts in the buttons
  // ------------------------------------------------------------

  /** Shows the counts of one day in the buttons, or the latest counts if `index` is null. */
  function showCounts(index) {
    caption.textContent = index == null ? initialCaption : dayLabels[index];
    buttons.forEach((button, series) => {
      const counts = countsBySeries[series];
      const shownIndex = index ?? counts.findLastIndex((count) => count !== null);
      const text = counts[shownIndex]?.toLocaleString() ?? "–";
      button.querySelector("[data-value]").textContent = text;
    });
  }

  function isPressed(button) {
    return button.getAttribute("aria-pressed") === "true";
  }

  function toggleSeries(button, index) {
    const show = !isPressed(button);
    button.setAttribute("aria-pressed", String(show));
    // The first series of uPlot is the x axis.
    chart.setSeries(index + 1, { show });
  }

  // 3. Chart
  // ------------------------------------------------------------

  /** Returns a CSS variable as a colour that a canvas accepts; a variable may refer to others. */
  function resolveColour(variable) {
    container.style.color = `var(${variable})`;
    return getComputedStyle(container).color;
  }

  function chartSize() {
    const width = container.clientWidth;
    return { width, height: Math.max(200, Math.min(340, width / 2)) };
  }

  function chartScales() {
    const latest = times.at(-1);
    return {
      x: { range: () => [latest - (SHOWN_DAYS - 0.5) * DAY, latest + DAY / 2] },
      y: { range: (_chart, _min, max) => [0, Math.max(5, (max || 0) * 1.1)] },
    };
  }

  function chartAxes() {
    const common = {
      stroke: resolveColour("--tblr-secondary"),
      grid: { stroke: resolveColour("--tblr-border-color"), width: 1 },
      ticks: { show: false },
    };
    const dayAxis = {
      ...common,
      incrs: [1, 2, 5, 7, 14].map((days) => days * DAY),
      values: (_chart, splits) => splits.map((time) => dateFormat.format(time * 1000)),
    };
    const countAxis = {
      ...common,
      size: 60,
      values: (_chart, splits) =>
        splits.map((count) => (Number.isInteger(count) ? count.toLocaleString() : "")),
    };
    return [dayAxis, countAxis];
  }

  function chartSeries(button) {
    const { severity } = button.dataset;
    const colour = resolveColour(`--tone-${severity}`);
    return {
      label: severity,
      show: isPressed(button),
      stroke: colour,
      dash: DASHES[severity],
      width: 2,
      points: { show: true, size: 5, fill: colour },
    };
  }

  function renderChart() {
    const options = {
      ...chartSize(),
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      hooks: {
        setCursor: [({ cursor }) => showCounts(cursor.left < 0 ? null : cursor.idx)],
      },
      scales: chartScales(),
      axes: chartAxes(),
      series: [{}, ...buttons.map(chartSeries)],
    };
    chart?.destroy();
    chart = new uPlot(options, [times, ...countsBySeries], container);
  }

  buttons.forEach((button, index) => {
    button.addEventListener("click", () => toggleSeries(button, index));
  });
  // The colours differ between the light and the dark theme.
  const themeObserver = new MutationObserver(renderChart);
  themeObserver.observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  new ResizeObserver(() => chart?.setSize(chartSize())).observe(container);
  renderChart();
  showCounts(null);
})();
