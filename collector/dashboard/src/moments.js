/** What is drawn into charts besides figures: marks (deploys), times in which alerts fired, thresholds. */

import { useMemo } from "preact/hooks";
import { useAnswer } from "./answers.js";
import { written } from "./figures.js";
import { range } from "./range.js";
import { now } from "./times.js";
import { named } from "./words.js";

/**
 * Return {marks, spans, linesOf(metric, unit)} of a service (or of all): marks {atMs, text}, spans {fromMs,
 * toMs, severity, id}, lines {value, severity, text} of the thresholds of a metric (its name in /thresholds).
 */
export function useMoments({ environment, service } = {}) {
  const asked = { environment, service, ...range.value.parameters };
  const marks = useAnswer("/marks", { ...asked, limit: 100 }).value.data;
  const alerts = useAnswer("/alerts", { ...asked, state: "all", limit: 200 }).value.data;
  const thresholds = useAnswer("/thresholds", {}, { everyMs: 60_000 }).value.data;
  return useMemo(
    () => ({
      marks: (marks?.marks ?? []).map(markOf).sort((a, b) => a.atMs - b.atMs),
      spans: (alerts?.alerts ?? []).filter((each) => each.firedAt).map(spanOf),
      linesOf: (metric, unit) => linesOf(thresholds, metric, unit),
    }),
    [marks, alerts, thresholds],
  );
}

const markOf = (mark) => ({ atMs: Date.parse(mark.at), text: [mark.service, mark.name].filter(Boolean).join(" ") || named("mark", mark.kind) });

const spanOf = (alert) => ({
  id: alert.id,
  severity: alert.severity,
  fromMs: Date.parse(alert.firedAt),
  toMs: alert.resolvedAt ? Date.parse(alert.resolvedAt) : now.peek(),
});

function linesOf(thresholds, metric, unit) {
  const found = thresholds?.thresholds?.[metric];
  return ["warning", "critical"]
    .filter((severity) => Number.isFinite(found?.[severity]))
    .map((severity) => ({ severity, value: found[severity], text: `${named("severity", severity)} ${written(found[severity], unit)}` }));
}
