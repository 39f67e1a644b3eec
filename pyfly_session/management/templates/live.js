// Without a script the figures are those of the page; reloading shows newer ones.
const every = 5000;
const live = document.getElementById("live");
const state = document.getElementById("health");

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (answer.status !== 200 && answer.status !== 503) throw new Error(`the answer was ${answer.status}`);
  return answer.json();
}

async function refresh() {
  // A page that nobody looks at shall not keep its operator logged in.
  if (document.hidden) return;
  try {
    const [health, counts] = [await ask("health"), await ask("counts")];
    state.className = `state ${health.status === "UP" ? "up" : "down"}`;
    state.querySelector("b").textContent = health.status;
    state.querySelector("span").textContent =
      health.status === "UP" ? `${health.milliseconds} ms` : health.reason;
    for (const cell of document.querySelectorAll("[data-figure]")) {
      cell.textContent = counts[cell.dataset.figure] ?? "–";
    }
    for (const cell of document.querySelectorAll("[data-event]")) {
      cell.textContent = counts.events[cell.dataset.event] ?? 0;
    }
    live.textContent = `live, ${new Date().toISOString().slice(11, 19)} UTC`;
  } catch (error) {
    live.textContent = `not live: ${error.message}`;
  }
}

setInterval(refresh, every);
document.addEventListener("visibilitychange", refresh);
refresh();
