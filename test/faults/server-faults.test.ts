/**
 * The rows of the fault matrix in which servers, streams and instances fail. Those that show what they show in minutes are
 * left to `npm run faults`: 2, 3, 10, 12, 13 and 21; the tests of outages have one such fault each.
 */
import { testRows } from './part.ts'

testRows('under the faults of servers', [1, 4, 5, 6, 7, 11])
