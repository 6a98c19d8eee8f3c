/**
 * The live stream (Socket.IO): figures each second, alerts as they change.
 *
 * The client is loaded after the first page is there, and connects while somebody is signed in. Nothing
 * is replayed: after each connection everything shown is asked for anew.
 */

import { effect, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { renewAll, underWay } from "./answers.js";
import { ask } from "./api.js";
import { STREAM } from "./base.js";
import { serverNow } from "./servertime.js";
import { freshToken, session } from "./session.js";

/** "off" (not wanted yet), "connecting", "live" or "lost". */
export const connection = signal("off");
/** Whether the stream is lost because the collector refuses it to this page. */
export const isRefused = signal(false);
/** The latest figures for the present filter: {at, data} or null. */
export const metricsNow = signal(null);
/** The latest alert that changed, as the API shows one. */
export const lastAlert = signal(null);

const FIRST_MS = 5000;
const FORBIDDEN = 403;
let socket = null;
let filters = [];
let hasBeenLive = false;

effect(() => {
  if (session.value === "signedIn") open();
  else close();
});

/** Resolve when what was asked for first has been answered; after five seconds in any case. */
function answered() {
  return new Promise((done) => {
    let hasBegun = false;
    const timer = setTimeout(finish, FIRST_MS);
    const stop = effect(() => {
      if (underWay.value) hasBegun = true;
      else if (hasBegun) finish();
    });
    function finish() {
      clearTimeout(timer);
      queueMicrotask(() => stop());
      done();
    }
  });
}

async function open() {
  if (socket) return;
  await answered();
  const { io } = await import("socket.io-client");
  if (session.peek() !== "signedIn" || socket) return;
  connection.value = "connecting";
  socket = io(location.origin, {
    path: STREAM,
    // A page that polls would need one collector for all its requests; WebSocket comes first.
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    auth: (give) => freshToken().then((token) => give({ token })),
    reconnectionDelayMax: 10_000,
  });
  socket.on("connect", () => {
    connection.value = "live";
    isRefused.value = false;
    socket.emit("subscribe:alerts", {}, () => {});
    subscribe();
    if (hasBeenLive) renewAll();
    hasBeenLive = true;
  });
  socket.on("disconnect", () => lost(isRefused.peek()));
  socket.on("connect_error", (error) => lost(error.description === FORBIDDEN));
  socket.on("metrics:update", (data) => {
    metricsNow.value = { at: serverNow(), data };
  });
  socket.on("silences:changed", () => renewAll());
  for (const name of ["alert:new", "alert:critical", "alert:changed"]) {
    socket.on(name, (alert) => {
      lastAlert.value = alert;
    });
  }
}

function lost(wasRefused) {
  connection.value = "lost";
  isRefused.value = wasRefused;
  metricsNow.value = null;
  // Whether it is the stream alone that is gone.
  ask("/health").catch(() => {});
}

function close() {
  socket?.disconnect();
  socket = null;
  hasBeenLive = false;
  connection.value = "off";
  isRefused.value = false;
  metricsNow.value = null;
}

function subscribe() {
  if (!socket?.connected) return;
  if (filters.length) socket.emit("subscribe:metrics", filters.at(-1), () => {});
  else socket.emit("unsubscribe:metrics", {}, () => {});
  metricsNow.value = null;
}

/** Have figures each second for {environment, service, route} while a component is there; see metricsNow. */
export function useLiveFigures(filter, wanted = true) {
  const asked = useMemo(() => Object.fromEntries(Object.entries(filter).filter(([, value]) => value)), [JSON.stringify(filter)]);
  useEffect(() => {
    if (!wanted) return undefined;
    filters = [...filters, asked];
    subscribe();
    return () => {
      filters = filters.filter((each) => each !== asked);
      subscribe();
    };
  }, [asked, wanted]);
}
