// Without it every page can be read; this only helps to see where one is.

// The entry of a page is often far down in the navigation.
const entry = document.querySelector(".sidebar-tree .current-page");
const navigation = document.querySelector(".sidebar-scroll");
if (entry && navigation) {
  const below = entry.getBoundingClientRect().top - navigation.getBoundingClientRect().top;
  if (below > navigation.clientHeight * 0.8) {
    // The theme scrolls smoothly, which here would only be a flicker.
    navigation.scrollTo({ top: below - navigation.clientHeight / 3, behavior: "instant" });
  }
}

// What is wider than the page can be scrolled by keys, too.
const reach = (box) => {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
};
for (const block of document.querySelectorAll(".highlight pre")) {
  reach(block);
  new ResizeObserver(() => reach(block)).observe(block);
}

// A table that is wider than the page fades at the side where it goes on.
for (const table of document.querySelectorAll(".table-wrapper")) {
  const look = () => {
    reach(table);
    const rest = table.scrollWidth - table.clientWidth - table.scrollLeft;
    table.classList.toggle("goes-on", rest > 1);
    table.classList.toggle("began-before", table.scrollLeft > 1);
  };
  table.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(table);
}

// Both are an <aside>; whoever hears the page tells them apart by these names.
const asides = { ".sidebar-drawer": "All pages", ".toc-drawer": "On this page" };
for (const [box, name] of Object.entries(asides)) {
  document.querySelector(box)?.setAttribute("aria-label", name);
}
