/** Requests on their way, by number, the oldest first. */
import { LinkedList, type Place } from '../../linked-list.ts'

/** Places in the ring at least. */
const LEAST_PLACES = 64

/**
 * Items under numbers that go up. A ring instead of a `Map`: whatever has come and gone in a `Map` may stay in memory until a
 * full collection (see `LinkedList`), and here that is every message that is published.
 */
export class Numbered<Item> {
  readonly #items = new LinkedList<readonly [number: number, item: Item]>()
  #ring: (Place<readonly [number, Item]> | undefined)[] = empty(LEAST_PLACES)
  #next = 1

  get size(): number {
    return this.#items.size
  }

  /** Adds an item, and answers its number. */
  add(item: Item): number {
    const number = this.#next
    this.#next += 1
    const place = this.#items.add([number, item])
    if (this.#span > this.#ring.length) this.#resize()
    this.#ring[number % this.#ring.length] = place
    return number
  }

  /** Undefined: there is no such number, or it was removed. */
  get(number: number): Item | undefined {
    return this.#placeOf(number)?.value[1]
  }

  remove(number: number): void {
    const place = this.#placeOf(number)
    if (!place) return
    this.#items.remove(place)
    this.#ring[number % this.#ring.length] = undefined
    if (this.#ring.length > LEAST_PLACES && this.#span < this.#ring.length / 4) this.#resize()
  }

  /** Removes all of them, and answers what they were. */
  clear(): Item[] {
    const all = [...this]
    for (const [number] of all) this.remove(number)
    return all.map(([, item]) => item)
  }

  /** The oldest one. */
  get first(): readonly [number: number, item: Item] | undefined {
    return this.#items.first
  }

  /** From the oldest to the newest. */
  [Symbol.iterator](): Iterator<readonly [number: number, item: Item]> {
    return this.#items[Symbol.iterator]()
  }

  /** From the oldest item to the newest number. */
  get #span(): number {
    return this.#next - (this.#items.first?.[0] ?? this.#next)
  }

  #placeOf(number: number): Place<readonly [number, Item]> | undefined {
    const place = this.#ring[number % this.#ring.length]
    return place?.value[0] === number ? place : undefined
  }

  /** Makes the ring twice as large as what it has to hold. */
  #resize(): void {
    let places = LEAST_PLACES
    while (places < 2 * this.#span) places *= 2
    const before = this.#ring
    this.#ring = empty(places)
    for (const [number] of this.#items) {
      const place = before[number % before.length]
      if (place?.value[0] === number) this.#ring[number % places] = place
    }
  }
}

const empty = (places: number): undefined[] => Array.from({ length: places })
