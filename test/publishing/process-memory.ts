/** What Linux tells of a process: how much memory it has had at most, and what the kernel still holds for it. */
import { readFileSync, writeFileSync } from 'node:fs'

const KIB = 1_024
/** Of a line of /proc/net/tcp: where both ends are, and what of the connection is in the kernel. */
const CONNECTION = /: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) \w\w ([0-9A-F]{8}):([0-9A-F]{8})/

/** Linux's word for: forget the peak. */
const FORGET_PEAK = '5'

function statusOf(pid: number, name: 'VmHWM' | 'VmRSS'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const [, kib] = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status) ?? []
  if (kib === undefined) throw new Error(`/proc/${pid}/status does not tell ${name}`)
  return Number(kib) * KIB
}

/** Resident memory of a process, bytes. */
export const rssOf = (pid: number): number => statusOf(pid, 'VmRSS')

/** Memory of a process, bytes, and from now on the most that it comes to. */
export interface MemoryWatch {
  readonly levelBytes: number
  peakBytes(): number
}

export function watchMemory(pid: number): MemoryWatch {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, FORGET_PEAK)
  } catch {
    // Where the kernel does not let this be done, the peak of before counts too.
  }
  return { levelBytes: statusOf(pid, 'VmRSS'), peakBytes: () => statusOf(pid, 'VmHWM') }
}

/** What was written to a connection on the loopback and not read yet, bytes: sent or not, the kernel has it. */
export function inKernel(from: { readonly port: number }, to: { readonly port: number }): number {
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map(
      (line) =>
        CONNECTION.exec(line)
          ?.slice(1)
          .map((hex) => Number.parseInt(hex, 16)) ?? [],
    )
    .reduce((sum, [local, remote, unsent = 0, unread = 0]) => {
      if (local === from.port && remote === to.port) return sum + unsent
      return local === to.port && remote === from.port ? sum + unread : sum
    }, 0)
}
