/** Which rows the fault matrix has. */
import type { Row } from './row.ts'
import { leaderKilledRow } from './rows/01-leader-killed.ts'
import { allKilledRow } from './rows/02-all-killed.ts'
import { answersLostRow } from './rows/03-answers-lost.ts'
import { olderCopyRow } from './rows/04-older-copy.ts'
import { madeAgainRow } from './rows/05-made-again.ts'
import { removedWhileReadingRow } from './rows/06-removed-while-reading.ts'
import { sseCutsRow } from './rows/07-sse-cuts.ts'
import { abandonedPullsRow } from './rows/08-abandoned-pulls.ts'
import { slowWorkerRow } from './rows/09-slow-worker.ts'
import { troubledConsumersRow } from './rows/10-consumers-troubled.ts'
import { bridgeKilledRow } from './rows/11-bridge-killed.ts'
import { rollingRestartRow } from './rows/12-rolling-restart.ts'
import { badNetworksRow } from './rows/13-bad-networks.ts'
import { vanishedReadersRow } from './rows/14-vanished-readers.ts'
import { slowReadersRow } from './rows/15-slow-readers.ts'
import { reconnectsRow } from './rows/16-reconnects.ts'
import { badRequestsRow } from './rows/17-bad-requests.ts'
import { tokensAndTenantsRow } from './rows/18-tokens-and-tenants.ts'
import { spiedPublishesRow } from './rows/19-spied-publishes.ts'
import { soakRow } from './rows/21-soak.ts'
import { hostileClientsRow } from './rows/22-hostile-clients.ts'

export const ROWS: readonly Row[] = [
  leaderKilledRow,
  allKilledRow,
  answersLostRow,
  olderCopyRow,
  madeAgainRow,
  removedWhileReadingRow,
  sseCutsRow,
  abandonedPullsRow,
  slowWorkerRow,
  troubledConsumersRow,
  bridgeKilledRow,
  rollingRestartRow,
  badNetworksRow,
  vanishedReadersRow,
  slowReadersRow,
  reconnectsRow,
  badRequestsRow,
  tokensAndTenantsRow,
  spiedPublishesRow,
  soakRow,
  hostileClientsRow,
]
