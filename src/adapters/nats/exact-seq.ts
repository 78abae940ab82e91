/** Sequences that a number holds exactly: JetStream's go up to 2⁶⁴, those of JSON in most languages up to 2⁵³. */
import { BridgeError } from '../../errors.ts'

/** The sequence, and the one behind it, as they are. Throws `sequence_too_large`. */
export function exactSeq(seq: number): number {
  if (seq < Number.MAX_SAFE_INTEGER) return seq
  throw new BridgeError('sequence_too_large', 'The stream has a sequence beyond 9007199254740990.')
}
