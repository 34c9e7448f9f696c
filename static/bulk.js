// One box that ticks all the others of a list's page. Everything else is forms.
(() => {
  const boxes = (all) => [...all.closest("table").querySelectorAll("input[name=c]")];
  document.addEventListener("change", (event) => {
    const table = event.target.closest("table");
    const all = table?.querySelector("[data-tick-all]");
    if (!all) return;
    if (event.target === all) {
      for (const box of boxes(all)) box.checked = all.checked;
    } else if (event.target.name === "c") {
      const ticked = boxes(all).filter((box) => box.checked).length;
      all.checked = ticked === boxes(all).length;
      all.indeterminate = ticked > 0 && !all.checked;
    }
  });
})();
