/** The rows of the fault matrix in which clients are slow, gone, wrong or hostile. */
import { testRows } from './part.ts'

testRows('under the faults of clients', [8, 9, 14, 15, 16, 17, 18, 19, 22])
