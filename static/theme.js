// Runs before the page is painted: light or dark, and that scripts work at all.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = () => root.setAttribute("data-bs-theme", localStorage.getItem("theme") || (dark.matches ? "dark" : "light"));
  set();
  dark.addEventListener("change", set);
  root.classList.add("js");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`tz=${zone}`)) document.cookie = `tz=${zone}; path=${root.dataset.root}; max-age=31536000; samesite=lax`;
})();
