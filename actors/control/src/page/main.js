// Starts the page.

import { hasToken } from "./api.js";
import { startActors } from "./actors.js";
import { startAlarms } from "./alarms.js";
import { startBookmarks } from "./bookmarks.js";
import { startCompare } from "./compare.js";
import { startCompletions } from "./completions.js";
import { connect, startConnection } from "./connection.js";
import { startControls } from "./controls.js";
import { startCurves } from "./curves.js";
import { showDoor, startDoor } from "./door.js";
import { startEditor } from "./editor.js";
import { startFork } from "./fork.js";
import { startJournal } from "./journal.js";
import { startKeys } from "./keys.js";
import { startLatency } from "./latency.js";
import { startRewards } from "./rewards.js";
import { startScope } from "./scope.js";
import { startSettings } from "./settings.js";
import { startTheme } from "./theme.js";
import { startWeights } from "./weights.js";
import { startWhatIf } from "./what-if.js";

startConnection();
startTheme();
startKeys();
startCurves();
startScope();
startWeights();
startEditor();
startSettings();
startControls();
startFork();
startWhatIf();
// Before the rewards, whose cards show latencies.
startLatency();
startRewards();
startActors();
startAlarms();
startCompletions();
startCompare();
startBookmarks();
startJournal();
startDoor(connect);
if (hasToken()) connect();
else showDoor();
