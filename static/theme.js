// Sets the colour theme and the time zone cookie. Loaded without `defer` in the head of base.html,
// on every page, so that it runs before the first paint and the page does not flash in the wrong
// theme.
(() => {
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");

  /** Applies the theme that the user chose in this browser, else the theme of the system. */
  function applyTheme() {
    const systemTheme = prefersDark.matches ? "dark" : "light";
    root.setAttribute("data-bs-theme", localStorage.getItem("theme") || systemTheme);
  }

  /** Stores the browser's time zone in a cookie; the server writes times in this zone. */
  function storeTimeZone() {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!zone || document.cookie.includes(`tz=${zone}`)) {
      return;
    }
    const oneYear = 31536000;
    document.cookie = `tz=${zone}; path=${root.dataset.root}; max-age=${oneYear}; samesite=lax`;
  }

  applyTheme();
  prefersDark.addEventListener("change", applyTheme);
  // The stylesheet shows .js-only elements and hides .no-js-only elements below this class.
  root.classList.add("js");
  storeTimeZone();
})();
