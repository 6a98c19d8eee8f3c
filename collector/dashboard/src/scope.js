/**
 * What a page is about: a service, or a route of one, as filters for the API.
 */

import { useAnswer } from "./answers.js";
import { query } from "./address.js";
import { range, stepOf } from "./range.js";

/** Return the filters of the address: environment, service, route, method, version, instance. */
export function scopeOfAddress() {
  const { environment, service, route, method, version, instance } = query.value;
  return { environment, service, route, method, version, instance };
}

/** Return the steps of requests of a scope: {state, data: {series, step, ...}}, with a row for each step. */
export function useHistory(scope, { points } = {}) {
  const step = stepOf(range.value.seconds, points);
  return useAnswer("/metrics/history", { ...scope, ...range.value.parameters, step, empty: "rows" });
}

/** Return the times (ms) of rows of a history. */
export const timesOf = (rows) => rows.map((row) => Date.parse(row.t));

/** Return a figure of each row, null where there were no requests. */
export const valuesOf = (rows, name) => rows.map((row) => (row[name] === undefined ? null : row[name]));
