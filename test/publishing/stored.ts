/** What the fault tests ask of a stream: that it is there, and all that is in it. */
import type { Message } from '../contract/client.ts'

/** Makes a stream of files through the bridge, whose subjects are everything below its name in lower case. */
export async function makeStream(
  url: string,
  name: string,
  config: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const answer = await fetch(`${url}/v1/streams`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name, subjects: [`${name.toLowerCase()}.>`], storage: 'file', ...config }),
  })
  if (!answer.ok) throw new Error(`The stream ${name} was not made: ${await answer.text()}`)
}

/** All messages of a stream that a filter selects, in their order. */
export async function readStored(url: string, stream: string, subject = '>'): Promise<Message[]> {
  const answer = await fetch(`${url}/v1/streams/${stream}/messages?subject=${subject}`, {
    headers: { Accept: 'application/x-ndjson' },
  })
  const lines = (await answer.text()).trimEnd().split('\n')
  const end = lines.pop() ?? ''
  if (!answer.ok || !end.includes('"up_to_date":true')) throw new Error(`${stream} was not read: ${end}`)
  return lines.map((line) => JSON.parse(line) as Message)
}
