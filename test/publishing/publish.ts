/** One publish of one message, with what its answer was. */
import { type Problem, type Published, publishPath } from '../contract/client.ts'

export interface Intent {
  readonly subject: string
  readonly payload: string
  readonly headers: Readonly<Record<string, string>>
}

export interface Answered {
  readonly status: number
  readonly body: Published | Problem
}

/** `url`: of the bridge. Throws where it does not answer. */
export async function publish(url: string, { subject, payload, headers }: Intent): Promise<Answered> {
  const answer = await fetch(url + publishPath(subject), { method: 'POST', body: payload, headers })
  return { status: answer.status, body: (await answer.json()) as Published | Problem }
}
