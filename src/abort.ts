/** Ending work for more than one reason. */

/**
 * Aborts `controller` as soon as `signal` is, for the same reason. Answers how to let go of the signal: whoever may be
 * done before it is aborted does so, since it may live on for long.
 * Instead of `AbortSignal.any`: what that makes, Node 24 keeps for ever where it was listened to and then forgotten.
 */
export function abortWith(controller: AbortController, signal: AbortSignal): () => void {
  const abort = () => controller.abort(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  return () => signal.removeEventListener('abort', abort)
}
