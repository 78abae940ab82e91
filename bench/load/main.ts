/** The entry of a load process: it does one job after another, as they are asked for over IPC. */
import { echoLines } from './echo-lines.ts'
import * as fanOut from './fan-out.ts'
import * as natively from './natively.ts'
import * as overHttp from './over-http.ts'
import * as overWebdis from './over-webdis.ts'
import { publishBatches, publishLines } from './publish-many.ts'
import { record, replay } from './replay.ts'
import { collectCursors, resume, resumeNatively } from './resume.ts'
import { recordEvent, spray } from './spray.ts'

const JOBS = {
  publish: overHttp.publish,
  publishLines,
  publishBatches,
  readPages: overHttp.readPages,
  readLines: overHttp.readLines,
  pullAndAck: overHttp.pullAndAck,
  publishNatively: natively.publishNatively,
  readBatches: natively.readBatches,
  catchUp: natively.catchUp,
  pullAndAckNatively: natively.pullAndAckNatively,
  store: natively.store,
  askApi: natively.askApi,
  openReaders: fanOut.openReaders,
  deliver: fanOut.deliver,
  slowLag: async () => fanOut.slowLag(),
  closeReaders: async () => fanOut.closeReaders(),
  collectCursors,
  resume,
  resumeNatively,
  fillWebdis: overWebdis.fill,
  publishToWebdis: overWebdis.publish,
  readWebdisPages: overWebdis.readPages,
  readWebdisStream: overWebdis.readStream,
  makeWebdisGroup: overWebdis.makeGroup,
  pullAndAckWebdis: overWebdis.pullAndAck,
  record,
  replay,
  echoLines,
  recordEvent,
  spray,
}

/** What a load process can do, by name. */
export type Jobs = typeof JOBS
export type JobName = keyof Jobs

/** A job as it is sent, and what is sent back: a late answer must not be taken for that of the next job. */
export type JobRequest = { id: number; name: JobName; job: unknown }
export type JobReply = { id: number } & ({ done: unknown } | { failed: string })

const run = async ({ id, name, job }: JobRequest): Promise<JobReply> => {
  try {
    return { id, done: await (JOBS[name] as (job: unknown) => Promise<unknown>)(job) }
  } catch (err) {
    return { id, failed: err instanceof Error ? err.message : String(err) }
  }
}

process.on('message', (request: JobRequest) => {
  void run(request).then((reply) => process.send?.(reply))
})
// Whoever asked is gone.
process.on('disconnect', () => process.exit(0))
// A Ctrl-C of the terminal is the parent's to act on.
process.on('SIGINT', () => {})
