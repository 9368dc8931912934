// The picture of a report in the root README: `tsx scripts/report-picture.ts REPORT.html docs/report.png`. It shows the top of
// the page as it opens, 1200 points wide.
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { launchChromium } from './chromium.js'

const [report, picture] = process.argv.slice(2)
if (!report || !picture) throw new Error('give a report and the picture to write')
const browser = await launchChromium()
const page = await browser.newPage({ viewport: { width: 1200, height: 1180 }, colorScheme: 'light' })
await page.goto(pathToFileURL(resolve(report)).href)
await page.locator('#head-box canvas').first().waitFor()
await page.screenshot({ path: picture })
await browser.close()
