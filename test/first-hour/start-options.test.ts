/** What `npm start` refuses, and that it says all there is to set at once. */
import { expect, test } from 'vitest'
import { readStartOptions } from '../../scripts/start-options.ts'

const KEY = { TOKEN_KEYS: 'k1:x' }

test.each([
  [{}, ['AUTH=nats,', 'TOKEN_KEYS="k1:', 'NATS_URL']],
  [{ AUTH: 'nats' }, ['TOKEN_KEYS="k1:', 'NATS_URL']],
  [{ AUTH: 'nats', ...KEY }, ['NATS_URL']],
  [{ AUTH: 'none' }, ['TOKEN_KEYS="k1:']],
])('HOST=0.0.0.0 with %j is refused for %j together', async (env, wanted) => {
  const refusal = await readStartOptions('node', { HOST: '0.0.0.0', ...env }).then(
    () => '',
    (failure: Error) => failure.message,
  )
  expect(['AUTH=nats,', 'TOKEN_KEYS="k1:', 'NATS_URL'].filter((text) => refusal.includes(text))).toEqual(
    wanted,
  )
})
