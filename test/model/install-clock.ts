/** The moment at which virtual time begins: imported first, before any module keeps a timer of its own. */
import { installClock } from './virtual-clock.ts'

installClock()
