/** Questions to the collector's API. */

import { API } from "./base.js";
import { accessToken, freshToken, renew } from "./session.js";
import { refuseZone } from "./settings.js";
import { fetched, queryOf, Refused, Unreachable } from "./wire.js";

export { queryOf, Refused, Unreachable } from "./wire.js";

/**
 * Ask, and return the `data` of the answer. Rejects with Refused, Unreachable, or the AbortError of
 * `signal`. An access token that has ended is renewed once. An answer that another dashboard got will
 * do if it is up to `oldestS` seconds old.
 */
export async function ask(path, parameters = {}, { method = "GET", body, signal, oldestS = 0 } = {}) {
  const request = () =>
    fetched(`${API}${path}${queryOf(parameters)}`, {
      method,
      signal,
      headers: {
        Accept: "application/json",
        ...(accessToken() && { Authorization: `Bearer ${accessToken()}` }),
        ...(oldestS >= 1 && { "Cache-Control": `max-age=${Math.floor(oldestS)}` }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    }, oldestS);
  try {
    return await request();
  } catch (error) {
    if (error instanceof Refused && error.details.parameter === "tz" && parameters.tz) refuseZone(parameters.tz);
    if (!(error instanceof Refused) || error.status !== 401 || !(await renew())) throw error;
    return request();
  }
}

/** Ask for a page or file instead of data, and return its text; rejects as `ask` does. */
export async function fetchedText(path, parameters) {
  await freshToken();
  let answer;
  try {
    answer = await fetch(`${API}${path}${queryOf(parameters)}`, { headers: { Authorization: `Bearer ${accessToken()}` }, cache: "no-store" });
  } catch (error) {
    throw new Unreachable(error);
  }
  if (answer.ok) return answer.text();
  const envelope = await answer.json().catch(() => null);
  throw new Refused(answer.status, envelope?.error, 0);
}
