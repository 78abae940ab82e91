/** The last net of a host: a failure that nothing handled is counted and logged, and ends nothing but what it was of. */
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'

/** Of the stack, which says where; what a failure says may hold something that a client sent. */
const FRAMES = 8

let failures = 0

/** Shows how many there were: of the process, or of the isolate, whatever of it they belong to. */
export function watchUnhandled(metrics: Metrics): void {
  metrics.watch(
    {
      name: 'sluice_unhandled_failures_total',
      type: 'counter',
      help: 'Failures that nothing handled: each is a fault of the bridge.',
    },
    () => failures,
  )
}

/** Counts and logs a failure. Never throws: the log may be what has failed. */
export function tellUnhandled(log: Log, failure: unknown): void {
  failures += 1
  try {
    log.warn({ code: 'internal', detail: 'Nothing handled a failure.', cause: whereabouts(failure) })
  } catch {
    // It is counted.
  }
}

/**
 * Has an isolate of workerd tell of rejections. It goes on by itself, but would write out what a failure says; that of a
 * timer it tells nobody of.
 */
export function tellAllUnhandled(log: Log): void {
  // Tests on Node ask the Worker's entry, too, where these are events of the process.
  globalThis.addEventListener?.('unhandledrejection', (event) => {
    event.preventDefault()
    tellUnhandled(log, event.reason)
  })
}

function whereabouts(failure: unknown): string {
  if (!(failure instanceof Error)) return typeof failure
  const { name, message, stack = '' } = failure
  const said = stack.indexOf(message)
  const frames = (said === -1 ? '' : stack.slice(said + message.length)).split('\n').slice(1, FRAMES + 1)
  return [/^\w{1,64}$/.test(name) ? name : 'Error', ...frames].join('\n')
}
