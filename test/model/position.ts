/** Cursors as the oracle sees them: opened, and compared with the stream that they are of. */
import type { Position } from '../../src/reading.ts'
import { contentMark } from '../../src/tokens/cursor.ts'
import type { SimulatedStream, Stored } from './simulated-stream.ts'
import { STREAM, type World } from './world.ts'

/** Opens a cursor that the bridge gave out. */
export const open = (world: World, filters: readonly string[], cursor: string): Position =>
  world.bridge.session.cursors.scope(STREAM, filters).open(cursor)

const NEVER = Number.POSITIVE_INFINITY

/** Whether a stream was the only one between two operations. */
export const wasThere = (
  stream: SimulatedStream,
  { invokedOp }: { invokedOp: number },
  now: SimulatedStream | undefined,
) => stream === now && stream.createdOp <= invokedOp && stream.deletedOp === NEVER

/** Operations: when a client had a cursor, and when it showed it. */
interface Held {
  readonly since: number
  readonly until: number
}

/** Whether what a position stands at was lost while its client had it; then that has to be told. */
export function isLost(stream: SimulatedStream, position: Position, { since, until }: Held): boolean {
  const { seq } = position
  const isBetween = ({ removedOp }: Stored) => removedOp > since && removedOp <= until
  const lost = stream.log.some((one) => one.seq === seq && one.removedAs === 'lost' && isBetween(one))
  const now = stream.present.get(seq)
  const { time, mark, content } = position
  const isAnother = now !== undefined && content !== contentMark(now)
  const saysMessage = time !== undefined || mark !== undefined || (content !== undefined && isAnother)
  return lost && (seq > stream.lastSeq || (saysMessage && now !== undefined))
}

/** Whether what came in the place of a lost message is gone as well: who stood there cannot be told then. */
export const cannotBeTold = ({ log }: SimulatedStream): boolean =>
  log.some((lost) => lost.removedAs === 'lost' && log.some((one) => isInItsPlace(lost, one)))

const isInItsPlace = (lost: Stored, { seq, storedOp, removedAs }: Stored) =>
  seq === lost.seq && storedOp > lost.storedOp && removedAs !== undefined
