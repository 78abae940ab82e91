/** Owns which rows the fault matrix has. */
import type { Row } from './row.ts'
import { leaderKilledRow } from './rows/01-leader-killed.ts'
import { allKilledRow } from './rows/02-all-killed.ts'
import { answersLostRow } from './rows/03-answers-lost.ts'
import { troubledConsumersRow } from './rows/10-consumers-troubled.ts'
import { bridgeKilledRow } from './rows/11-bridge-killed.ts'
import { rollingRestartRow } from './rows/12-rolling-restart.ts'
import { badNetworksRow } from './rows/13-bad-networks.ts'
import { soakRow } from './rows/21-soak.ts'

export const ROWS: readonly Row[] = [
  leaderKilledRow,
  allKilledRow,
  answersLostRow,
  troubledConsumersRow,
  bridgeKilledRow,
  rollingRestartRow,
  badNetworksRow,
  soakRow,
]
