/** The figures of the Node process, under the names of Prometheus' own clients. */
import type { Metrics } from '../metrics.ts'

const MICROSECONDS = 1e6

export function watchProcess(metrics: Metrics): void {
  const startedAt = Date.now() / 1_000 - process.uptime()
  metrics.watch(
    { name: 'process_cpu_seconds_total', type: 'counter', help: 'CPU time of the process, user and system.' },
    () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / MICROSECONDS
    },
  )
  metrics.watch(
    { name: 'process_resident_memory_bytes', type: 'gauge', help: 'Memory of the process.' },
    () => process.memoryUsage.rss(),
  )
  metrics.watch(
    {
      name: 'nodejs_heap_size_used_bytes',
      type: 'gauge',
      help: 'Memory of the JavaScript heap that is in use.',
    },
    () => process.memoryUsage().heapUsed,
  )
  metrics.watch(
    { name: 'process_start_time_seconds', type: 'gauge', help: 'When the process started, Unix time.' },
    () => startedAt,
  )
}
