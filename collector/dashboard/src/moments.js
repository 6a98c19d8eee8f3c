/** What is drawn into charts besides figures: marks (deploys), times in which alerts fired, thresholds. */

import { useEffect, useMemo } from "preact/hooks";
import { LISTS, useAnswer } from "./answers.js";
import { written } from "./figures.js";
import { range } from "./range.js";
import { lastAlert } from "./stream.js";
import { now } from "./times.js";
import { named } from "./words.js";

/**
 * Return {marks, spansOf(metrics), linesOf(metric, unit)} of a service (or of all): marks {atMs, text}, spans
 * {fromMs, toMs, severity} in which alerts on a metric fired, the worst where several did, lines {value,
 * severity, text} of the thresholds of a metric (its name in /thresholds).
 */
export function useMoments({ environment, service } = {}) {
  const asked = { environment, service, ...range.value.parameters };
  const marks = useAnswer("/marks", { ...asked, limit: 100 }, { slower: LISTS }).value.data;
  const found = useAnswer("/alerts", { ...asked, state: "all", limit: 200 }, { slower: LISTS });
  const alerts = found.value.data;
  const changed = lastAlert.value;
  useEffect(() => {
    if (changed) found.again();
  }, [changed]);
  const thresholds = useAnswer("/thresholds", {}, { everyMs: 60_000 }).value.data;
  return useMemo(
    () => ({
      marks: (marks?.marks ?? []).map(markOf).sort((a, b) => a.atMs - b.atMs),
      spansOf: (metrics) => joined((alerts?.alerts ?? []).filter((each) => each.firedAt && metrics.includes(each.metric)).map(spanOf)),
      linesOf: (metric, unit) => linesOf(thresholds, metric, unit),
    }),
    [marks, alerts, thresholds],
  );
}

const ONGOING_MS = 3_600_000;

const markOf = (mark) => ({ atMs: Date.parse(mark.at), isDeploy: mark.kind === "deploy", text: [mark.service, mark.name].filter(Boolean).join(" ") || named("mark", mark.kind) });

const spanOf = (alert) => ({
  severity: alert.severity,
  fromMs: Date.parse(alert.since),
  // Up to where its values were good again; else beyond the chart's edge, which moves on.
  toMs: alert.recoveredAt || alert.resolvedAt ? Date.parse(alert.recoveredAt ?? alert.resolvedAt) : now.peek() + ONGOING_MS,
});

/** Return spans that do not overlap within a severity: colour upon colour would mean nothing. */
function joined(spans) {
  const found = [];
  for (const span of spans.sort((a, b) => a.fromMs - b.fromMs)) {
    const last = found.findLast((each) => each.severity === span.severity);
    if (last && span.fromMs <= last.toMs) last.toMs = Math.max(last.toMs, span.toMs);
    else found.push({ ...span });
  }
  return found;
}

function linesOf(thresholds, metric, unit) {
  const found = thresholds?.thresholds?.[metric];
  return ["warning", "critical"]
    .filter((severity) => Number.isFinite(found?.[severity]))
    .map((severity) => ({ severity, value: found[severity], text: `${named("severity", severity)} ${written(found[severity], unit)}` }));
}
