/** Owns load processes as the bench sees them: clients that run beside it and not in it. */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { JobName, JobReply, JobRequest, Jobs } from './main.ts'

const ENTRY = join(import.meta.dirname, 'main.ts')
const JOB_TIMEOUT_MS = 120_000

type Asked<Name extends JobName> = Parameters<Jobs[Name]>[0]
type Done<Name extends JobName> = Awaited<ReturnType<Jobs[Name]>>

/** A process of its own, which does one job at a time. */
export type Load = {
  /** Throws what the job throws, and after two minutes. */
  ask: <Name extends JobName>(name: Name, job: Asked<Name>) => Promise<Done<Name>>
  /** Ends it, whatever it is doing; settles when it is gone. */
  stop: () => Promise<void>
}

const reply = (child: ChildProcess, name: JobName): Promise<JobReply> =>
  new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(late)
      child.off('message', heard)
      child.off('exit', gone)
      act()
    }
    const heard = (message: JobReply) => settle(() => resolve(message))
    const gone = () => settle(() => reject(new Error(`${name}: the load process ended`)))
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
  return {
    async ask<Name extends JobName>(name: Name, job: Asked<Name>): Promise<Done<Name>> {
      const answered = reply(child, name)
      const request: JobRequest = { name, job }
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
