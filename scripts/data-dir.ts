/** The folder of a development instance: that one start has it at a time, and the token key kept in it. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { natsFiles } from './nats-process.ts'

const ORPHAN_GRACE_MS = 3_000

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '')

const exists = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (err) {
    // Another user's process is a process, too.
    return (err as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Pids are used again, in containers at once: with its time of start a pid names one process. Linux only, else empty. */
const startOf = (pid: number): string => {
  const fields = read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')
  return fields?.[19] ?? ''
}

/** An orphan is a nats-server that runs on our very configuration file; nothing else is ever ended here. */
const endOrphan = async (dataDir: string): Promise<void> => {
  const { pidPath, configPath } = natsFiles(dataDir)
  const pid = Number(read(pidPath))
  const isOurs = () => read(`/proc/${pid}/cmdline`).split('\0').includes(configPath)
  if (!pid || !isOurs()) return
  process.kill(pid, 'SIGTERM')
  const deadline = Date.now() + ORPHAN_GRACE_MS
  while (isOurs()) {
    if (Date.now() > deadline) process.kill(pid, 'SIGKILL')
    await delay(20)
  }
}

const inUse = (dataDir: string, pid: number): Error =>
  new Error(
    `The store in ${dataDir} is in use by another Sluice (process ${pid}). Stop that one, or set DATA_DIR to another folder.`,
  )

/**
 * Takes a data folder for this process, and ends a nats-server that an earlier start left behind in it.
 * Throws when another start has it. Answers the release, which only removes the mark.
 */
export const claimDataDir = async (dataDir: string): Promise<() => void> => {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const mark = join(dataDir, 'start.pid')
  const own = `${process.pid} ${startOf(process.pid)}`.trim()
  const claim = () => writeFileSync(mark, own, { flag: 'wx' })
  try {
    claim()
  } catch {
    const [pid = '0', start = ''] = read(mark).split(' ')
    const other = Number(pid)
    if (other !== process.pid && other > 0 && exists(other) && startOf(other) === start)
      throw inUse(dataDir, other)
    rmSync(mark, { force: true })
    claim()
  }
  await endOrphan(dataDir)
  return () => rmSync(mark, { force: true })
}

/** The key that seals tokens in development: made once and kept, so that tokens outlive a restart. */
export const developmentTokenKey = (dataDir: string): string => {
  const path = join(dataDir, 'token-keys')
  const kept = read(path)
  if (kept) return kept
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const key = `dev:${randomBytes(32).toString('base64url')}`
  writeFileSync(path, key, { mode: 0o600 })
  return key
}
