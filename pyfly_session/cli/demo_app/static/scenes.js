// The buttons of "What sets it apart", tabs that follow each other, and where the focus was.
const seconds = (number) => new Promise((done) => setTimeout(done, number * 1000));
const post = (path, body) => fetch(path, { method: "POST", body, redirect: "manual" });
const state = document.body.dataset.state;

const scenes = {
  async forty() {
    // The first request makes the session that all others share.
    await post("/forty?start");
    await Promise.all(Array.from({ length: 40 }, () => post("/forty")));
    const { here, elsewhere } = await (await fetch("/forty")).json();
    return `Of 40 lanterns ${here} are in the cart. Read at the start and written at the end: ${elsewhere}.`;
  },
  async logout() {
    await post("/cart", new URLSearchParams({ item: "Lantern" }));
    const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    const slow = post("/slow");
    await seconds(0.4);
    await post("/logout");
    await slow;
    const { alive } = await (await fetch(`/fate?id=${page.body.dataset.id}`)).json();
    return alive ? "The session is back." : "The slow request wrote after the logout. The session stayed ended.";
  },
  async outage() {
    await post("/outage");
    let refused = 0;
    while ((await fetch("/")).status === 503) {
      refused += 1;
      await seconds(0.5);
    }
    return `${refused} requests got 503. The store is back, and so is the session, as it was.`;
  },
};

function remember(name, value) {
  sessionStorage.setItem(name, JSON.stringify(value));
}

function recall(name) {
  const value = JSON.parse(sessionStorage.getItem(name));
  sessionStorage.removeItem(name);
  return value;
}

for (const button of document.querySelectorAll("[data-scene]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    const text = await scenes[button.dataset.scene]();
    remember("told", { scene: button.dataset.scene, text });
    remember("focus", `[data-scene=${button.dataset.scene}]`);
    location.reload();
  });
}
const told = recall("told");
if (told) {
  const place = document.querySelector(`[data-scene=${told.scene}]`).parentElement;
  place.querySelector(".told").textContent = told.text;
}

// A form leads to a page that is a new one; who uses the keyboard goes on from the same button.
for (const form of document.forms) {
  form.addEventListener("submit", ({ submitter }) => {
    const value = submitter.value ? `[value="${submitter.value}"]` : "";
    remember("focus", `form[action="${form.getAttribute("action")}"] button${value}`);
  });
}
const focus = recall("focus");
if (focus) {
  const heading = document.getElementById("visitor");
  heading.tabIndex = -1;
  (document.querySelector(focus) ?? heading).focus();
}

// Other tabs show what this one has done, and are told of nothing that they show already.
const tabs = new BroadcastChannel("pyfly-session-demo");
tabs.addEventListener("message", ({ data }) => {
  if (data !== state && !document.querySelector("[data-scene]:disabled")) location.reload();
});
// A tab that was told and reloads tells nobody.
const reloaded = performance.getEntriesByType("navigation")[0]?.type === "reload";
if (!reloaded || focus) tabs.postMessage(state);
