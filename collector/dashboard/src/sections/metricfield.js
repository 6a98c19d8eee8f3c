/** The choice of what a rule judges: by what people call it, or any gauge or measure by its name. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { Field, Select } from "../parts/form.js";
import { named, t } from "../words.js";

const OTHER = "";

/** `metrics` are names that the API has, `names` its answer of /names; `set` gets the name. */
export function MetricField({ value, set, metrics, names }) {
  const [isOther, setOther] = useState(false);
  const known = metrics.includes(value);
  const every = metrics.map((each) => [each, named("metric", each)]).sort((a, b) => a[1].localeCompare(b[1]));
  // What has two names in the API (responseTime, p95) has one for people.
  const options = every.filter(([each, text], index) => each === value || every.findIndex(([, other]) => other === text) === index);
  const others = [...(names?.gauges ?? []), ...(names?.measures ?? [])].map((each) => each.name);
  const typed = isOther || (metrics.length > 0 && !known);
  function choose(chosen) {
    setOther(chosen === OTHER);
    if (chosen !== OTHER) set(chosen);
  }
  return html`<${Select} name=${t("rule.metric")} value=${typed ? OTHER : value} set=${choose} options=${[...options, [OTHER, t("rule.otherMetric")]]} />
    ${typed && html`<${Field} name=${t("rule.metricName")} value=${known ? "" : value} set=${set} list="metric-names" required=${true} hint=${t("rule.metricHint")} />
      <datalist id="metric-names">${others.map((each) => html`<option key=${each} value=${each} />`)}</datalist>`}`;
}
