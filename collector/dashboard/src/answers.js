/**
 * Answers of the API that keep themselves up to date while they are seen.
 *
 * While the range moves with the clock an answer is asked for again every ten seconds, which is how
 * often there is something new, and less often the longer the range is: by then there is nothing to see
 * that was not there before. Not while the tab is hidden. What was shown stays until the next answer is
 * there: a failed attempt makes it stale, and says so.
 */

import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { ask, queryOf } from "./api.js";
import { range } from "./range.js";
import { serverNow } from "./servertime.js";

const EVERY_MS = 10_000;
const SELDOM_MS = 300_000;
/** Of a range that moves: a chart has some 150 steps, of which the last one changes. */
const PACES = 360;
/** How much less often than the charts tables and steps of a minute change, lists, and what explains a change. */
export const TABLES = 2;
export const LISTS = 3;
export const CAUSES = 12;
/** An answer that is asked for again may be one that another dashboard got, by this share of the pause. */
const OLDEST = 0.8;
const OLDEST_S = 60;
const MOST_WAIT_MS = 60_000;

/** Bumped when everything must be asked anew: the collector came back, something was changed. */
const renewed = signal(0);

/** How many answers are under way. */
export const underWay = signal(0);

/** Ask for everything that is shown anew. */
export function renewAll() {
  renewed.value += 1;
}

/**
 * Return a signal of {state, data, error, at, key} for a path and parameters; `key` is the question that
 * was answered last.
 *
 * `state` is "loading" (nothing yet), "ready", "changing" (data of other parameters still shows),
 * "stale" (the last attempt failed, data are those of `at`) or "failed" (nothing to show). A path of null
 * asks nothing. `everyMs` is how often it is asked again; 0 never; without it, as the range moves, `slower`
 * times as seldom. `again()` asks at once.
 */
export function useAnswer(path, parameters = {}, { everyMs, slower = 1 } = {}) {
  const answer = useMemo(() => {
    const found = signal({ state: "loading", data: null, error: null, at: 0 });
    found.again = () => {};
    return found;
  }, []);
  const key = path === null ? null : path + queryOf(parameters);
  const wait = everyMs ?? Math.min(paceOf(range.value) * slower, SELDOM_MS);
  const times = renewed.value;
  useEffect(() => {
    if (key === null) return undefined;
    const before = answer.peek();
    // The same question again (renewed) must not make the page flicker.
    if (before.key !== key && before.data !== null) answer.value = { ...before, state: "changing" };
    else if (before.data === null) answer.value = { ...before, state: "loading", error: null };
    return kept(answer, key, path, parameters, wait);
  }, [key, wait, times]);
  return answer;
}

/** Return after how many ms what shows a range is asked for again; 0 if the range stands still. */
export function paceOf({ isLive, seconds }) {
  return isLive ? Math.min(Math.max((seconds * 1000) / PACES, EVERY_MS), SELDOM_MS) : 0;
}

/** Keep an answer up to date until the function that is returned is called. */
function kept(answer, key, path, parameters, wait) {
  const stop = new AbortController();
  let timer = 0;
  let failures = 0;
  let asking = false;
  let isDue = false;

  async function attempt(oldestS = 0) {
    clearTimeout(timer);
    if (asking) return;
    // Asked when it is seen again, however soon: no timer runs any more.
    isDue = document.hidden && answer.peek().key === key;
    if (isDue) return;
    asking = true;
    underWay.value += 1;
    let pause = wait;
    try {
      const data = await ask(path, parameters, { signal: stop.signal, oldestS });
      failures = 0;
      answer.value = { state: "ready", data, error: null, at: serverNow(), key };
    } catch (error) {
      if (stop.signal.aborted) return;
      failures += 1;
      pause = Math.max(error.retryAfter * 1000 || 0, Math.min(1000 * 2 ** failures, MOST_WAIT_MS) * (0.7 + 0.6 * Math.random()));
      if (error.status >= 400 && error.status < 500 && error.status !== 429) pause = wait;
      const { data, key: shownKey, at } = answer.peek();
      answer.value = data !== null && shownKey === key
        ? { state: "stale", data, error, at, key }
        : { state: "failed", data: null, error, at: 0, key };
    } finally {
      asking = false;
      underWay.value -= 1;
    }
    if (pause && !stop.signal.aborted) timer = setTimeout(() => attempt(Math.min((pause / 1000) * OLDEST, OLDEST_S)), pause * (failures ? 1 : 0.95 + 0.1 * Math.random()));
  }

  const seen = () => {
    if (!document.hidden && (isDue || serverNow() - answer.peek().at > Math.max(wait, 1000))) attempt();
  };
  if (wait) document.addEventListener("visibilitychange", seen);
  answer.again = () => attempt();
  attempt();
  return () => {
    stop.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}
