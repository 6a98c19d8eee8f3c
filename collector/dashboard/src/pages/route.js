/** One route of a service. */

import { html } from "htm/preact";
import { href } from "../address.js";
import { useLiveHistory } from "../livehistory.js";
import { useMoments } from "../moments.js";
import { Empty } from "../parts/states.js";
import { scopeOfAddress, useHistory } from "../scope.js";
import { Heat } from "../sections/heat.js";
import { Kept } from "../sections/kept.js";
import { Latency } from "../sections/latency.js";
import { Chosen } from "../sections/opening.js";
import { Queries } from "../sections/queries.js";
import { sideNames, Sides, useSides } from "../sections/sides.js";
import { Statuses } from "../sections/statuses.js";
import { TimeGoes } from "../sections/timegoes.js";
import { Traffic } from "../sections/traffic.js";
import { Versus } from "../sections/versus.js";
import { t } from "../words.js";

export default function Route() {
  const scope = scopeOfAddress();
  const moments = useMoments(scope);
  const history = useHistory(scope);
  const live = useLiveHistory(scope, history);
  const versions = useSides(scope, "version");
  const instances = useSides(scope, "instance");
  if (!scope.service || scope.route === undefined) return html`<${Empty} text=${t("route.which")} />`;
  const { environment, service } = scope;
  return html`<h1><bdi>${[scope.method, scope.route].filter(Boolean).join(" ")}</bdi></h1>
    <p class="lede"><a href=${href("service", { environment, service })}><bdi>${service}</bdi></a> <span class="none"><bdi>${environment}</bdi></span></p>
    <${Chosen} scope=${scope} fields=${["version", "instance"]} />
    <div class="grid">
      <${Latency} history=${live} moments=${moments} />
      <${Traffic} history=${live} moments=${moments} />
      <${Queries} scope=${scope} />
      <${Heat} scope=${scope} moments=${moments} />
      <${Statuses} scope=${scope} />
      <${TimeGoes} history=${history} scope=${scope} />
      <${Kept} scope=${scope} />
      <${Versus} scope=${scope} versions=${sideNames(versions, "version")} />
      <${Sides} answer=${versions} field="version" />
      <${Sides} answer=${instances} field="instance" />
    </div>`;
}
