/** Nginx with nchan as a peer: a private one on a loopback port, tuned for what is measured. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../scripts/ports.ts'
import { run, type Server, startServer, waitUntilReady } from '../../scripts/processes.ts'
import { getPrograms } from './programs.ts'

/** A running one. `pids`: of its workers, which do all the work. */
export type Nchan = {
  /** What it calls itself. */
  version: string
  url: string
  pids: readonly number[]
  publishPath: string
  readPath: string
  stop: () => Promise<void>
}

const NGINX = 'usr/sbin/nginx'
const MODULE = 'usr/lib/nginx/modules/ngx_nchan_module.so'
const WANTED = { peer: 'nchan', packages: ['nginx', 'libnginx-mod-nchan'], files: [NGINX, MODULE] }
/** More than any figure has readers. */
const CONNECTIONS = 16_384
/** More messages than are ever under way: nobody may miss one. */
const BUFFERED_MESSAGES = 4_096
const TEMP_PATHS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/**
 * Debian's module has the system's folder for request bodies built in, makes it at start, and no setting reaches that:
 * in our copy the path is relative to the server's own folder.
 */
const relocate = (root: string, folder: string): string => {
  const code = readFileSync(join(root, MODULE), 'latin1')
  const path = join(folder, 'ngx_nchan_module.so')
  writeFileSync(path, code.replaceAll('\0/var/lib/nginx/', '\0var/lib/nginx//'), 'latin1')
  mkdirSync(join(folder, 'var', 'lib', 'nginx'), { recursive: true })
  return path
}

/** `workers`: processes. With a socket of its own each gets its share of the readers. */
type Shape = { port: number; workers: number }

const configuration = (folder: string, modulePath: string, { port, workers }: Shape): string => `
load_module ${modulePath};
daemon off;
worker_processes ${workers};
worker_rlimit_nofile ${CONNECTIONS + 1_000};
user ${userInfo().username};
pid ${folder}/nginx.pid;
events { worker_connections ${CONNECTIONS}; }
http {
  access_log off;
  ${TEMP_PATHS.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  keepalive_requests 1000000000;
  nchan_shared_memory_size 256m;
  server {
    listen 127.0.0.1:${port} backlog=4096 reuseport;
    location = /publish {
      nchan_publisher;
      nchan_channel_id bench;
      nchan_message_buffer_length ${BUFFERED_MESSAGES};
    }
    location = /read {
      nchan_subscriber eventsource;
      nchan_channel_id bench;
      nchan_subscriber_first_message newest;
    }
  }
}
`

const workersOf = ({ pid }: Server): number[] => {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim()
  return children.split(' ').map(Number)
}

const isUp = async (url: string): Promise<true | string> => {
  try {
    await fetch(url)
    return true
  } catch {
    return `${url} does not answer`
  }
}

/** Starts nginx in a folder of its own. The caller stops it. Throws with the reason where it cannot be had or started. */
export const startNchan = async (
  folder: string,
  say: (text: string) => void,
  workers: number,
): Promise<Nchan> => {
  const { root, env } = await getPrograms(WANTED, say)
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const config = join(folder, 'nginx.conf')
  const log = join(folder, 'nginx.log')
  writeFileSync(config, configuration(folder, relocate(root, folder), { port, workers }))
  const program = join(root, NGINX)
  const args = ['-p', `${folder}/`, '-c', config, '-e', log]
  const server = await startServer({ name: 'nginx', command: program, args, env, logPath: log })
  const url = `http://127.0.0.1:${port}`
  await waitUntilReady(server, () => isUp(url))
  const { stderr } = await run(program, ['-v'], { env })
  return {
    version: `nginx ${/nginx\/([\d.]+)/.exec(stderr)?.[1]} with nchan, ${workers === 1 ? 'one worker' : `${workers} workers`}`,
    url,
    pids: workersOf(server),
    publishPath: '/publish',
    readPath: '/read',
    stop: () => server.stop(),
  }
}
