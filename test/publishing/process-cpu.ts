/** What Linux tells of a process: how much of a processor it has used. */
import { readFileSync } from 'node:fs'

/** Linux counts in hundredths of a second, whatever the machine. */
const TICKS_PER_SECOND = 100
/** Of /proc/PID/stat, counted behind the name, which may have spaces in it. */
const USER_TICKS = 11
const SYSTEM_TICKS = 12

/** Seconds of processor time that a process has used so far, in user and system mode. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS])) / TICKS_PER_SECOND
}
