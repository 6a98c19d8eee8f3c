/** Columns for rows that have `calls`: queries, calls to hosts, tasks. */

import { t } from "../words.js";

const call = (name) => (row) => row.calls[name];

/** Return the columns of figures of calls; total is the sum of time of all rows, for shares. */
export function callColumns(total) {
  return [
    { key: "perSecond", title: t("calls.perSecond"), value: call("perSecond"), unit: "perSecond" },
    { key: "mean", title: t("sides.mean"), value: call("mean"), unit: "ms" },
    { key: "p95", title: "p95", value: call("p95"), unit: "ms" },
    { key: "max", title: t("routes.max"), value: call("max"), unit: "ms" },
    { key: "errorRate", title: t("services.errors"), value: call("errorRate"), unit: "ratio" },
    { key: "totalTime", title: t("routes.share"), value: (row) => (total ? row.calls.totalTime / total : null), unit: "ratio" },
  ];
}
