/** Service worker: the page opens without its server too. It keeps the page's own files, and no picture and no answer. */

const CACHE = "infilling-page";
const FILES = [
  "./",
  "static/app.js",
  "static/icon-192.png",
  "static/icon-512.png",
  "static/icon-maskable.png",
  "static/icon.svg",
  "static/manifest.json",
  "static/modules/compare.js",
  "static/modules/desk.js",
  "static/modules/dom.js",
  "static/modules/editing.js",
  "static/modules/engines.js",
  "static/modules/extend.js",
  "static/modules/filling.js",
  "static/modules/finding.js",
  "static/modules/history.js",
  "static/modules/keys.js",
  "static/modules/marks.js",
  "static/modules/mask.js",
  "static/modules/menus.js",
  "static/modules/notice.js",
  "static/modules/opening.js",
  "static/modules/requests.js",
  "static/modules/saving.js",
  "static/modules/server.js",
  "static/modules/shelf.js",
  "static/modules/strings.js",
  "static/modules/tools.js",
  "static/modules/uploads.js",
  "static/modules/variants.js",
  "static/modules/view.js",
  "static/modules/work.js",
  "static/samples/galaxies.jpg",
  "static/samples/rocket.jpg",
  "static/strings/de.json",
  "static/strings/en.json",
  "static/strings/es.json",
  "static/strings/fr.json",
  "static/strings/vi.json",
  "static/strings/zh.json",
  "static/style.css",
];
const OURS = new Set(FILES.map((file) => new URL(file, self.location).href));

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
});

/** The newest file where the server answers, else the one that was kept. */
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && OURS.has(request.url)) event.respondWith(answer(request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const newest = await fetch(request);
    if (newest.ok) await cache.put(request, newest.clone());
    return newest;
  } catch (error) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
}
