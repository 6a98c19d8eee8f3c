/**
 * The live stream (Socket.IO): figures each second, alerts as they change.
 *
 * The client is loaded after the first page is there, and connects while somebody is signed in. Nothing
 * is replayed: after each connection everything shown is asked for anew.
 */

import { effect, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { renewAll, underWay } from "./answers.js";
import { STREAM } from "./base.js";
import { freshToken, session } from "./session.js";

/** "off" (not wanted yet), "connecting", "live" or "lost". */
export const connection = signal("off");
/** The latest figures for the present filter: {at, data} or null. */
export const metricsNow = signal(null);
/** The latest alert that changed, as the API shows one. */
export const lastAlert = signal(null);

const FIRST_MS = 5000;
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
    auth: (give) => freshToken().then((token) => give({ token })),
    reconnectionDelayMax: 10_000,
  });
  socket.on("connect", () => {
    connection.value = "live";
    socket.emit("subscribe:alerts", {}, () => {});
    subscribe();
    if (hasBeenLive) renewAll();
    hasBeenLive = true;
  });
  socket.on("disconnect", () => lost());
  socket.on("connect_error", () => lost());
  socket.on("metrics:update", (data) => {
    metricsNow.value = { at: Date.now(), data };
  });
  socket.on("silences:changed", () => renewAll());
  for (const name of ["alert:new", "alert:critical", "alert:changed"]) {
    socket.on(name, (alert) => {
      lastAlert.value = alert;
    });
  }
}

function lost() {
  connection.value = "lost";
  metricsNow.value = null;
}

function close() {
  socket?.disconnect();
  socket = null;
  hasBeenLive = false;
  connection.value = "off";
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
