/**
 * What most pages need: the build imports it into each of them, so that it is one file for all.
 *
 * Without it the bundler cuts what pages share into a file for each set of pages that do, a dozen of
 * which the first page would have to ask for one by one.
 */

import "./answers.js";
import "./keys.js";
import "./moments.js";
import "./parts/card.js";
import "./parts/csv.js";
import "./parts/dialog.js";
import "./parts/figure.js";
import "./parts/form.js";
import "./parts/icons.js";
import "./parts/popup.js";
import "./parts/signout.js";
import "./parts/spark.js";
import "./parts/states.js";
import "./parts/table.js";
import "./range.js";
import "./scope.js";
import "./stream.js";
