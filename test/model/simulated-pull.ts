/** A simulated pull: what is at hand, or what comes while it waits. */
import type { Delivery, PullRequest } from '../../src/jetstream.ts'
import type { SimulatedConsumer } from './simulated-consumer.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** A pull that asks for what is at hand hears nothing from a consumer that holds everything back. */
const AT_HAND_MS = 1_000

/** Resolves with nothing where nothing comes in time, or the client leaves. */
export async function deliveriesOf(
  consumer: SimulatedConsumer,
  request: PullRequest,
  clock: VirtualClock,
): Promise<readonly Delivery[]> {
  const { batch, maxBytes, waitMs } = request
  const atHand = consumer.take(batch, maxBytes)
  if (atHand.length > 0) return atHand
  if (waitMs > 0) return await waitFor(consumer, request, clock)
  if (consumer.isFull) await clock.delay(AT_HAND_MS)
  return []
}

function waitFor(
  consumer: SimulatedConsumer,
  { batch, maxBytes, waitMs, signal }: PullRequest,
  clock: VirtualClock,
): Promise<readonly Delivery[]> {
  return new Promise((resolve) => {
    const end = (deliveries: readonly Delivery[]) => {
      clock.cancel(timer)
      signal.removeEventListener('abort', leave)
      const index = consumer.waiting.indexOf(waiting)
      if (index !== -1) consumer.waiting.splice(index, 1)
      resolve(deliveries)
    }
    const leave = () => end([])
    const waiting = { batch, maxBytes, take: end }
    const timer = clock.after(waitMs, leave)
    signal.addEventListener('abort', leave)
    consumer.waiting.push(waiting)
  })
}
