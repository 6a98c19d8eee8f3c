/**
 * What a page is about: a service, or a route of one, as filters for the API.
 */

import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "./answers.js";
import { query } from "./address.js";
import { range, stepSeconds, stepText } from "./range.js";

/** Return the filters of the address: environment, service, route, method, version, instance. */
export function scopeOfAddress() {
  const { environment, service, route, method, version, instance } = query.value;
  return { environment, service, route, method, version, instance };
}

/**
 * Return the steps of requests of a scope: {state, data: {series, step, ...}}, with a row for each step.
 *
 * Figures of long ago are kept in wider windows: steps narrower than these would have a value here and
 * there, so that the question is asked again with steps as wide as they are.
 */
export function useHistory(scope, { points } = {}) {
  const { seconds, from, to } = range.value;
  const [widest, setWidest] = useState({ of: "", seconds: 0 });
  const of = `${from} ${to}`;
  const step = Math.max(stepSeconds(seconds, points), widest.of === of ? widest.seconds : 0);
  const answer = useAnswer("/metrics/history", { ...scope, ...range.value.parameters, step: stepText(step), empty: "rows" });
  const resolution = answer.value.data?.resolution ?? 0;
  useEffect(() => {
    if (resolution > step) setWidest({ of, seconds: resolution });
  }, [resolution]);
  return answer;
}

/** Return the times (ms) of rows of a history. */
export const timesOf = (rows) => rows.map((row) => Date.parse(row.t));

/** Return a figure of each row, null where there were no requests. */
export const valuesOf = (rows, name) => rows.map((row) => (row[name] === undefined ? null : row[name]));
