// Before anything is drawn: the theme that was chosen last, so that the page does not flash.
try {
  const theme = localStorage.getItem("vitrine.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // a browser that keeps nothing: the system's theme
}
