/**
 * Who is signed in. The access token lives in memory alone; the refresh token in a cookie that no
 * script can read, and that is good for one use. Tabs take turns with it where the browser has locks;
 * where it has none, and where an answer was lost, the collector takes the one before for half a minute.
 */

import { computed, signal } from "@preact/signals";
import { fetched, Refused } from "./wire.js";
import { API } from "./base.js";

/** "starting", "signedOut" or "signedIn". */
export const session = signal("starting");
/** {id, name, role} of who is signed in, else null. */
export const person = signal(null);
export const isAdmin = computed(() => person.value?.role === "admin");

let token = "";
let endsMs = 0;
let renewing = null;

/** Return the present access token, or "". */
export function accessToken() {
  return token;
}

/** Return an access token that is good for another half minute, or "" if nobody is signed in. */
export async function freshToken() {
  if (!token || Date.now() > endsMs - 30_000) await renew();
  return token;
}

/** Sign in with a name and a password; rejects with Refused. */
export async function signIn(name, password) {
  taken(await post("/auth/login", { name, password, cookie: true }));
}

/** Sign in with the token of a one-time link; ends the session before it, if any. Rejects with Refused. */
export async function signInByLink(secret) {
  const before = token;
  taken(await inTurn(() => post("/auth/link", { token: secret, cookie: true })));
  // Its cookie has been replaced: nobody could end it later. Without cookies, for that of the new one ends it too.
  if (before) await post("/auth/logout", {}, { credentials: "omit", token: before }).catch(() => {});
}

/** Change one's own password, which signs out everywhere else. */
export async function changePassword(password, newPassword) {
  taken(await post("/auth/password", { password, newPassword, cookie: true }));
}

/** Sign out; rejects where the collector did not say that the session has ended, which then goes on here. */
export async function signOut() {
  await inTurn(() => post("/auth/logout", { refreshToken: "" }));
  forget();
}

/** Renew the access token by the cookie; returns whether somebody is signed in. */
export function renew() {
  renewing ??= inTurn(async () => {
    try {
      taken(await post("/auth/refresh", { refreshToken: "" }));
      return true;
    } catch (error) {
      // Only the collector can say that the session is over: without it, what was shown stays.
      if (error instanceof Refused && [401, 403].includes(error.status)) forget();
      else if (session.value === "starting") throw error;
      return false;
    }
  }).finally(() => {
    renewing = null;
  });
  return renewing;
}

function post(path, body, { token: shown = token, ...options } = {}) {
  return fetched(`${API}${path}`, {
    method: "POST",
    ...options,
    headers: {
      "Content-Type": "application/json",
      "X-Trimtab-Request": "1",
      ...(shown && { Authorization: `Bearer ${shown}` }),
    },
    body: JSON.stringify(body),
  });
}

function taken(found) {
  token = found.accessToken;
  endsMs = Date.now() + found.expiresInSeconds * 1000;
  person.value = found.user;
  session.value = "signedIn";
}

function forget() {
  token = "";
  person.value = null;
  session.value = "signedOut";
}

/** Do something while no other tab does; browsers have locks on pages that came by TLS or loopback. */
function inTurn(work) {
  return navigator.locks ? navigator.locks.request("trimtab-session", work) : work();
}
