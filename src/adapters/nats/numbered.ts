/** Requests on their way, by number, the oldest first. */

/** Places at first, a power of two. */
const PLACES = 64

/**
 * Items under numbers that go up. A ring instead of a `Map`: whatever has come and gone in a `Map` may stay in memory until a
 * full collection (see `LinkedList`), and here that is every message that is published.
 */
export class Numbered<Item> {
  #places: (Item | undefined)[] = empty(PLACES)
  #first = 1
  #next = 1
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Adds an item, and answers its number. */
  add(item: Item): number {
    if (this.#next - this.#first === this.#places.length) this.#grow()
    this.#places[this.#placeOf(this.#next)] = item
    this.#size += 1
    this.#next += 1
    return this.#next - 1
  }

  /** Undefined: there is no such number, or it was removed. */
  get(number: number): Item | undefined {
    const isThere = Number.isSafeInteger(number) && number >= this.#first && number < this.#next
    return isThere ? this.#places[this.#placeOf(number)] : undefined
  }

  remove(number: number): void {
    if (this.get(number) === undefined) return
    this.#places[this.#placeOf(number)] = undefined
    this.#size -= 1
    if (this.#size === 0) {
      this.#first = this.#next
      if (this.#places.length > PLACES) this.#places = empty(PLACES)
    } else while (this.#places[this.#placeOf(this.#first)] === undefined) this.#first += 1
  }

  /** Removes all of them, and answers what they were. */
  clear(): Item[] {
    const all = [...this].map(([, item]) => item)
    this.#places = empty(PLACES)
    this.#first = this.#next
    this.#size = 0
    return all
  }

  /** From the oldest to the newest: the one that it is at may be removed meanwhile. */
  *[Symbol.iterator](): Generator<readonly [number, Item], void, undefined> {
    for (let number = this.#first; number < this.#next; number += 1) {
      const item = this.get(number)
      if (item !== undefined) yield [number, item]
    }
  }

  #placeOf(number: number): number {
    return number % this.#places.length
  }

  #grow(): void {
    const places: (Item | undefined)[] = empty(2 * this.#places.length)
    for (const [number, item] of this) places[number % places.length] = item
    this.#places = places
  }
}

const empty = (places: number): undefined[] => Array.from({ length: places })
