/**
 * Live mode: in a range of up to five minutes that ends now, a point each second.
 *
 * The stream tells each second the figures of the last ten; agents send one-second summaries while somebody
 * looks. Points follow the steps of the history, which stands where the stream has not been yet.
 */

import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { range } from "./range.js";
import { metricsNow, useLiveFigures } from "./stream.js";

/** Ranges (s) in which single seconds can be told apart. */
const MOST_S = 300;

/** Return an answer of useHistory with a point each second at its end, while the range is live and short. */
export function useLiveHistory(scope, history) {
  const { environment, service, route } = scope;
  const isWanted = range.value.isLive && range.value.seconds <= MOST_S;
  useLiveFigures({ environment, service, route }, isWanted);
  const points = useMemo(() => signal([]), []);
  const key = JSON.stringify([environment, service, route, isWanted]);
  useEffect(() => {
    points.value = [];
  }, [key]);
  const latest = metricsNow.value;
  useEffect(() => {
    if (!isWanted || !latest) return;
    const last = points.peek().at(-1);
    // One for each second, whatever the stream repeats after it has connected again.
    if (last && latest.at - last.atMs < 500) return;
    const oldest = latest.at - MOST_S * 1000;
    points.value = [...points.peek().filter((each) => each.atMs > oldest), pointOf(latest)];
  }, [latest, isWanted]);
  const added = points.value;
  return useMemo(() => {
    const found = { ...history, value: history.value };
    const { data } = history.value;
    if (isWanted && data && added.length) {
      const rows = data.series.filter((row) => Date.parse(row.t) < added[0].atMs);
      found.value = { ...history.value, data: { ...data, series: [...rows, ...added] } };
    }
    return found;
  }, [history.value, added, isWanted]);
}

/** Return a row as the history has it, of an update of the stream: {at (ms), data}. */
function pointOf({ at, data }) {
  const { responseTime, throughput, errorRate, requests } = data.application;
  return { atMs: at, t: new Date(at).toISOString(), requests, requestsPerSecond: throughput, errorRate, ...responseTime };
}
