/** Load processes as the bench sees them: clients that run beside it and not in it. */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { JobName, JobReply, JobRequest, Jobs } from './main.ts'

const ENTRY = join(import.meta.dirname, 'main.ts')
const JOB_TIMEOUT_MS = 120_000

type Asked<Name extends JobName> = Parameters<Jobs[Name]>[0]
type Done<Name extends JobName> = Awaited<ReturnType<Jobs[Name]>>

/** A process of its own, which does one job at a time. */
export type Load = {
  /** Throws what the job throws, after two minutes, and `LoadGone`. */
  ask: <Name extends JobName>(name: Name, job: Asked<Name>) => Promise<Done<Name>>
  /** Ends it, whatever it is doing; settles when it is gone. */
  stop: () => Promise<void>
}

/** Nothing can be measured any more: the process of the clients is gone, or was ended. */
export class LoadGone extends Error {}

const reply = (child: ChildProcess, { id, name }: JobRequest): Promise<JobReply> =>
  new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(late)
      child.off('message', heard)
      child.off('exit', gone)
      act()
    }
    const heard = (message: JobReply) => {
      if (message.id === id) settle(() => resolve(message))
    }
    const gone = () => settle(() => reject(new LoadGone(`${name}: the load process ended`)))
    const late = setTimeout(
      () => settle(() => reject(new Error(`${name}: not done in ${JOB_TIMEOUT_MS} ms`))),
      JOB_TIMEOUT_MS,
    )
    child.on('message', heard)
    child.once('exit', gone)
  })

/** Starts a load process. It ends with this one at the latest: it ends itself when the channel closes. */
export const startLoad = (): Load => {
  const child = fork(ENTRY, {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    serialization: 'advanced',
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  let nextId = 0
  return {
    async ask<Name extends JobName>(name: Name, job: Asked<Name>): Promise<Done<Name>> {
      if (!child.connected) throw new LoadGone(`${name}: the load process has ended`)
      const request: JobRequest = { id: nextId++, name, job }
      const answered = reply(child, request)
      child.send(request)
      const message = await answered
      if ('failed' in message) throw new Error(`${name}: ${message.failed}`)
      return message.done as Done<Name>
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await ended
    },
  }
}
