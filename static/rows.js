// A table's rows: menus that know the columns' types, whole values, copying, the neighbouring pages asked for ahead. Only reads.
(() => {
  // The comparisons that fit the column, and a field that fits the comparison.
  const fit = (form) => {
    const type = form.elements.add_column.selectedOptions[0]?.dataset.type;
    const kinds = type === undefined ? null : JSON.parse(form.dataset.kinds)[type];
    const kind = form.elements.add_kind;
    for (const option of kind.options) option.disabled = option.hidden = Boolean(kinds) && !kinds.includes(option.value);
    for (const group of kind.querySelectorAll("optgroup")) group.hidden = [...group.children].every((option) => option.hidden);
    if (kinds && !kinds.includes(kind.value)) kind.value = kinds[0];
    const takes = kind.selectedOptions[0]?.dataset.takes;
    const value = form.elements.add_value;
    value.type = takes === "date" ? "date" : "text";
    value.disabled = value.hidden = !takes;
    value.placeholder = takes === "boolean" ? "true or false" : "Value";
  };
  document.addEventListener("change", (event) => {
    const form = event.target.closest(".rows-add");
    if (form) fit(form);
  });

  document.addEventListener("input", (event) => {
    if (!event.target.matches("[data-find-column]")) return;
    const wanted = event.target.value.trim().toLowerCase();
    for (const label of event.target.form.querySelectorAll(".form-check")) {
      label.hidden = !label.textContent.toLowerCase().includes(wanted);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches?.("[data-find-column]")) event.preventDefault();
    if (event.key === "Escape") document.querySelector(".rows-menu[open]")?.removeAttribute("open");
  });

  // The pages before and after, kept for as long as what they say may be called read just now.
  const KEPT = 20_000;
  const ahead = new Map();
  const step = (event) => event.target.closest?.("#list .pager a[rel=next], #list .pager a[rel=prev]");
  const ask = (event) => {
    const link = step(event);
    if (!link || Date.now() - ahead.get(link.href)?.at < KEPT) return;
    const answer = fetch(link.href, { headers: { "HX-Request": "true" } }).then((found) => (found.ok ? found.text() : null), () => null);
    ahead.clear();
    ahead.set(link.href, { at: Date.now(), answer });
  };
  document.addEventListener("mouseover", ask);
  document.addEventListener("focusin", ask);

  document.addEventListener("click", async (event) => {
    for (const menu of document.querySelectorAll(".rows-menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    const tick = event.target.closest("[data-tick]");
    if (tick) {
      for (const label of tick.form.querySelectorAll(".form-check:not([hidden])")) label.querySelector("input").checked = tick.dataset.tick === "all";
    }
    const copy = event.target.closest(".cell-copy");
    if (copy) {
      const cell = copy.parentElement;
      const text = cell.querySelector("a:not(.cell-more)")?.href || cell.firstElementChild.textContent;
      await navigator.clipboard.writeText(text.replace(/^mailto:/, "")).then(() => { copy.textContent = "Copied"; }, () => { copy.textContent = "Copy by hand"; });
    }
  });
  // Before htmx, so that a page that is here already is not asked for again.
  document.addEventListener("click", async (event) => {
    const link = step(event);
    const kept = link && ahead.get(link.href);
    if (!kept || Date.now() - kept.at >= KEPT || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const text = await kept.answer;
    ahead.delete(link.href);
    if (text === null) { location.assign(link.href); return; }
    htmx.swap("#list", text, { swapStyle: "outerHTML" });
    // As htmx marks the pages that it goes back to.
    history.replaceState({ htmx: true }, "", location.href);
    history.pushState({ htmx: true }, "", link.href);
    scrollTo(0, 0);
  }, true);

  // A button to copy wanders with the pointer: one for all cells.
  const button = document.createElement("button");
  button.type = "button";
  button.className = "cell-copy";
  document.addEventListener("mouseover", (event) => {
    const cell = event.target.closest?.(".rows td");
    if (!cell || cell === button.parentElement) return;
    if (!cell.firstElementChild || cell.querySelector(".cell-masked, .cell-null, .cell-empty, .cell-muted, .cell-more")) { button.remove(); return; }
    button.textContent = "Copy";
    cell.append(button);
  });

  // Rows that cannot be had: said where they would stand, not beside a frame that waits for ever.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { detail } = event;
    if (!detail.target.matches("[data-fill]") || detail.xhr.status < 400) return;
    Object.assign(detail, { shouldSwap: true, isError: false, selectOverride: ".alert", swapOverride: "innerHTML" });
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "cell") document.getElementById("cell-dialog").showModal();
  });
})();
