// Counts on from what the server rendered. Without it the page works and stands still.
const loaded = Date.now();
const counters = document.querySelectorAll("[data-step]");
const left = document.querySelector("progress");
const over = document.getElementById("over");

function clock(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = two(seconds % 60);
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

function tick() {
  const passed = Math.floor((Date.now() - loaded) / 1000);
  for (const counter of counters) {
    const seconds = Number(counter.dataset.from) + passed * Number(counter.dataset.step);
    counter.textContent = clock(Math.max(0, seconds));
  }
  if (left) {
    left.value = Number(left.dataset.from) - passed;
    over.hidden = left.value > 0;
    document.body.classList.toggle("is-over", left.value <= 0);
  }
}

if (counters.length) setInterval(tick, 1000);
