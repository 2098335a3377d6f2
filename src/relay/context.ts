// What every connection of the relay shares: made once by app.ts, handed down, never global.

import type { RelayCounters } from '../admin/control.ts';
import type { Recorder } from '../audit/recorder.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/settings.ts';
import type { SessionPool } from '../pool/pool.ts';
import type { FactsCache } from '../sql/facts-cache.ts';
