/** Runs: many sequences and times sealed in one go, each bound to the token that heads them. */
import { createCipheriv, createDecipheriv, timingSafeEqual } from 'node:crypto'
import { markOf } from '../schemas/time.ts'
import type { Key } from './seal.ts'

const CIPHER = 'aes-256-ecb'
/** One block of AES: how far behind the head's sequence, the time's mark, and the end of the head. */
const BLOCK_BYTES = 16
const MARK_AT = 4
const BINDING_AT = 8
const MAX_OFFSET = 0xffff_ffff
/** Encoded with two bytes to spare, each block is a text of its own: 16 bytes are 22 characters. */
const STRIDE_BYTES = 18
const STRIDE_CHARS = 24
const BLOCK_CHARS = 22

/** Seals what comes after one head. */
export interface Run {
  /** A text for each message, or undefined where one is too far from the head. */
  seal(messages: readonly { readonly seq: number; readonly time: string }[]): string[] | undefined
  /** A text for any two 32-bit numbers, the distance from the head and what stands for a message. */
  sealOne(offset: number, mark: number): string
}

/**
 * A run behind `head`, a token sealed by the same key, whose position is at `headSeq`.
 *
 * A block is encoded, then enciphered: AES as a pseudorandom permutation over what is sealed and eight bytes that only
 * the right block can decipher to. Those are the last of the head's authentication tag, so a block is good behind its
 * own head and no other. Equal blocks are equal cursors, and tell nothing else. Source: Bellare and Rogaway,
 * Encode-then-encipher encryption.
 */
export function createRun(key: Key, head: string, headSeq: number): Run {
  const cipher = createCipheriv(CIPHER, key.blockSecret, null).setAutoPadding(false)
  const bound = bindingOf(head)
  const binding = [bound.readUInt32BE(0), bound.readUInt32BE(4)] as const
  const one = Buffer.alloc(BLOCK_BYTES)
  bound.copy(one, BINDING_AT)
  return {
    seal(messages) {
      const blocks = new DataView(new ArrayBuffer(messages.length * BLOCK_BYTES))
      let at = 0
      for (const { seq, time } of messages) {
        const offset = seq - headSeq
        if (offset < 0 || offset > MAX_OFFSET) return undefined
        blocks.setUint32(at, offset)
        blocks.setUint32(at + MARK_AT, markOf(time))
        blocks.setUint32(at + BINDING_AT, binding[0])
        blocks.setUint32(at + BINDING_AT + 4, binding[1])
        at += BLOCK_BYTES
      }
      return encodeBlocks(cipher.update(new Uint8Array(blocks.buffer)))
    },
    sealOne(offset, mark) {
      one.writeUInt32BE(offset, 0)
      one.writeUInt32BE(mark, MARK_AT)
      return cipher.update(one).toString('base64url')
    },
  }
}

/** Bytes are copied one by one: for as few as these a call of a buffer costs more. */
function encodeBlocks(blocks: Uint8Array): string[] {
  const count = blocks.length / BLOCK_BYTES
  const spread = Buffer.alloc(count * STRIDE_BYTES)
  for (let at = 0; at < blocks.length; at++) {
    spread[at + Math.floor(at / BLOCK_BYTES) * (STRIDE_BYTES - BLOCK_BYTES)] = blocks[at] ?? 0
  }
  const text = spread.toString('base64url')
  return Array.from({ length: count }, (_, index) =>
    text.slice(index * STRIDE_CHARS, index * STRIDE_CHARS + BLOCK_CHARS),
  )
}

/** Opens one text of a run. Undefined: forged, damaged, or of another head. */
export function openRun(key: Key, head: string, text: string): { offset: number; mark: number } | undefined {
  const block = Buffer.from(text, 'base64url')
  if (block.length !== BLOCK_BYTES || block.toString('base64url') !== text) return undefined
  const decipher = createDecipheriv(CIPHER, key.blockSecret, null).setAutoPadding(false)
  const plain = Buffer.concat([decipher.update(block), decipher.final()])
  if (!timingSafeEqual(plain.subarray(BINDING_AT), bindingOf(head))) return undefined
  return { offset: plain.readUInt32BE(0), mark: plain.readUInt32BE(MARK_AT) }
}

const bindingOf = (head: string): Buffer =>
  Buffer.from(head.slice(head.lastIndexOf('.') + 1), 'base64url').subarray(-(BLOCK_BYTES - BINDING_AT))
