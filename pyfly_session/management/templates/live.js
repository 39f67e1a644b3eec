// Without a script the figures are those of the page; reloading shows newer ones.
const every = 5000;
const live = document.getElementById("live");
const state = document.getElementById("health");
const figures = document.getElementById("counted");
const patience = Number(state.dataset.patience);
let asking = false;

// What was ended is told once, not again when the page is reloaded.
const address = new URL(location.href);
if (address.searchParams.has("ended")) {
  address.searchParams.delete("ended");
  history.replaceState(null, "", address);
}

function say(element, text) {
  // What is not new is not read aloud again.
  if (element.textContent !== text) element.textContent = text;
}

function showHealth(status, detail) {
  state.className = `state ${status.toLowerCase()}`;
  say(state.querySelector("b"), status);
  say(state.querySelector("span"), detail);
}

function showLive(health, counts) {
  const took = health.milliseconds === undefined ? "" : `${health.milliseconds} ms`;
  showHealth(health.status, health.reason ?? health.warning ?? took);
  for (const cell of document.querySelectorAll("[data-figure]")) {
    say(cell, String(counts[cell.dataset.figure] ?? "-"));
  }
  const cells = new Map([...document.querySelectorAll("[data-event]")].map((each) => [each.dataset.event, each]));
  for (const [name, number] of Object.entries(counts.events)) {
    say(cells.get(name) ?? addFigure(name), String(number));
  }
  say(live, `live, ${new Date().toISOString().slice(11, 19)} UTC`);
}

function addFigure(name) {
  const [row, term, cell] = ["div", "dt", "dd"].map((each) => document.createElement(each));
  term.textContent = cell.dataset.event = name;
  row.append(term, cell);
  figures.append(row);
  return cell;
}

function showOld(status, why) {
  showHealth(status, why);
  say(live, `not live: ${why}`);
}

// Returns the answer, or null if there is none that can be read to its end.
async function ask() {
  try {
    const answer = await fetch("live", {
      headers: { Accept: "application/json" },
      signal: AbortSignal.timeout(patience),
    });
    return { answer, text: await answer.text() };
  } catch {
    return null;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function refresh() {
  // A page that nobody looks at shall not keep its operator logged in.
  if (document.hidden || asking) return;
  asking = true;
  const asked = await ask();
  asking = false;
  if (asked === null) return showOld("unknown", "the server does not answer");
  const { status, redirected, headers } = asked.answer;
  const told = parsed(asked.text);
  if (status === 200 && told?.health && told?.counts) return showLive(told.health, told.counts);
  if ([401, 403, 404].includes(status) || redirected) {
    return showOld("unknown", "you are not logged in as an operator any more; reload the page");
  }
  if (status === 503) {
    // The answer of the sessions themselves: without them nobody can be let in.
    const plain = headers.get("Content-Type")?.startsWith("text/plain");
    const why = told?.error ?? ((plain && asked.text.trim().slice(0, 200)) || "the answer was 503");
    return showOld("DOWN", why);
  }
  showOld("unknown", `the answer was ${status}`);
}

setInterval(refresh, every);
document.addEventListener("visibilitychange", refresh);
refresh();
