/** The pages of the browser tests: a browser for a file, and pages that end with their test. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { type Chromium, getChromium } from '../support/chromium.ts'
import { launch } from './support.ts'

/** Opens a page at an address, to be used inside tests. */
export type OpenPage = (address: string) => Promise<Page>

/** A browser for the tests of this file, which are skipped where there is none. `flags`: over the usual ones. */
export function usePages(flags: readonly string[] = []): OpenPage {
  let chromium: Chromium
  let browser: Browser | undefined
  const pages: Page[] = []
  beforeAll(async () => {
    chromium = await getChromium()
    if (chromium.path !== undefined) browser = await launch(chromium, flags)
  }, 180_000)
  beforeEach((ctx) => {
    if (chromium.path === undefined) ctx.skip(chromium.reason)
  })
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.close()
  })
  afterAll(() => browser?.close())
  return async (address) => {
    if (!browser) throw new Error('There is no browser')
    const page = await browser.newPage()
    pages.push(page)
    await page.goto(address)
    return page
  }
}
