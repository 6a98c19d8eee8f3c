/** One service: how it does, why, and where to look. */

import { html } from "htm/preact";
import { useLiveHistory } from "../livehistory.js";
import { useMoments } from "../moments.js";
import { query } from "../address.js";
import { useAnswer } from "../answers.js";
import { Empty } from "../parts/states.js";
import { range } from "../range.js";
import { scopeOfAddress, useHistory } from "../scope.js";
import { Heat } from "../sections/heat.js";
import { Kept } from "../sections/kept.js";
import { Latency } from "../sections/latency.js";
import { Queries } from "../sections/queries.js";
import { Routes } from "../sections/routes.js";
import { sideNames, Sides, useSides } from "../sections/sides.js";
import { Statuses } from "../sections/statuses.js";
import { TimeGoes } from "../sections/timegoes.js";
import { Traffic } from "../sections/traffic.js";
import { Versus } from "../sections/versus.js";
import { Opening } from "../sections/opening.js";
import { locale, t } from "../words.js";

export default function Service() {
  const scope = scopeOfAddress();
  const moments = useMoments(scope);
  const history = useHistory(scope);
  const live = useLiveHistory(scope, history);
  const versions = useSides(scope, "version");
  const instances = useSides(scope, "instance");
  const overview = useAnswer(query.value.service ? "/overview" : null, { environment: scope.environment, service: scope.service, ...range.value.parameters, lang: locale.value });
  if (!scope.service) return html`<${Empty} text=${t("service.which")} />`;
  return html`<${Opening} answer=${overview} title=${html`<bdi>${scope.service}</bdi>`} scope=${scope} />
    <div class="grid">
      <${Latency} history=${live} moments=${moments} />
      <${Traffic} history=${live} moments=${moments} />
      <${Heat} scope=${scope} moments=${moments} />
      <${Statuses} scope=${scope} />
      <${TimeGoes} history=${history} scope=${scope} />
      <${Routes} scope=${scope} />
      <${Sides} answer=${versions} field="version" />
      <${Sides} answer=${instances} field="instance" />
      <${Versus} scope=${scope} versions=${sideNames(versions, "version")} />
      <${Queries} scope=${scope} />
      <${Kept} scope=${scope} />
    </div>`;
}
